"""The papers that the methods come from."""

M3D = "Zhang, Li, Wang, Zeng, Ge. M3D: Dataset Condensation by Minimizing Maximum Mean Discrepancy. AAAI 2024."
TABLE_1, TABLE_5 = f"Table 1 of {M3D}", f"Table 5 of {M3D}"
TABLE_2 = f"A baseline; Table 2 of {M3D}"
POOL = (
    "Encoders as in Zhang, Li, Lin, Wang, Qian, Ge. DANCE: Dual-View Distribution Alignment for Dataset Condensation. "
    "IJCAI 2024; the row is ours."
)
DM = "Zhao, Bilen. Dataset Condensation with Distribution Matching. WACV 2023."
CAFE = (
    "Wang, Zhao, Peng, Zhu, Yang, Wang, Huang, Bilen, Wang, You. CAFE: Learning to Condense Dataset by Aligning "
    "Features. CVPR 2022."
)
DATADAM = (
    "Sajedi, Khaki, Amjadian, Liu, Lawryshyn, Plataniotis. DataDAM: Efficient Dataset Distillation with Attention "
    "Matching. ICCV 2023."
)
IDM = "Zhao, Li, Qin, Yu. Improved Distribution Matching for Dataset Condensation. CVPR 2023."
DC = "Zhao, Mopuri, Bilen. Dataset Condensation with Gradient Matching. ICLR 2021."
DSA = "Zhao, Bilen. Dataset Condensation with Differentiable Siamese Augmentation. ICML 2021."
IDC = (
    "Kim, Kim, Oh, Yun, Song, Jeong, Ha, Song. Dataset Condensation via Efficient Synthetic-Data Parameterization. "
    "ICML 2022."
)
HERDING = "Welling. Herding Dynamical Weights to Learn. ICML 2009."
K_CENTER = "Sener, Savarese. Active Learning for Convolutional Neural Networks: A Core-Set Approach. ICLR 2018."
