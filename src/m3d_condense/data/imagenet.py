"""Subsets of ImageNet that are known by name: which classes, and in what order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["SUBSETS", "ImageNetClass"]


@dataclass(frozen=True, kw_only=True)
class ImageNetClass:
    """One of the thousand classes of ILSVRC 2012.

    Attributes:
        id: its label in ILSVRC/imagenet-1k of the hub: the rank of its WordNet id among the thousand in sorted order.
        wordnet: its WordNet id, which is the name of its folder.
        name: the first of its names.
    """

    id: int
    wordnet: str
    name: str


def _listed(text: str) -> tuple[ImageNetClass, ...]:
    """Read a list of classes, each as its id, its WordNet id and its name, between commas."""
    rows = [row.split(maxsplit=2) for row in text.split(",")]
    return tuple(
        ImageNetClass(id=int(id_), wordnet=wordnet, name=" ".join(name.split())) for id_, wordnet, name in rows
    )


# The hundred classes of IDC and M3D in their order, as drawn for CMC (Tian et al., ECCV 2020); the first ten are
# ImageNet-10.
IMAGENET_100 = _listed("""
452 n02869837 bonnet, 64 n01749939 green mamba, 374 n02488291 langur, 236 n02107142 Doberman,
993 n13037406 gyromitra, 176 n02091831 Saluki, 882 n04517823 vacuum, 904 n04589890 window screen,
503 n03062245 cocktail shaker, 74 n01773797 garden spider, 57 n01735189 garter snake, 959 n07831146 carbonara,
953 n07753275 pineapple, 508 n03085013 computer keyboard, 872 n04485082 tripod, 228 n02105505 komondor,
122 n01983481 American lobster, 421 n02788148 bannister, 599 n03530642 honeycomb, 858 n04435653 tile roof,
157 n02086910 papillon, 449 n02859443 boathouse, 994 n13040303 stinkhorn, 608 n03594734 jean,
151 n02085620 Chihuahua, 209 n02099849 Chesapeake Bay retriever, 15 n01558993 robin, 876 n04493381 tub,
246 n02109047 Great Dane, 766 n04111531 rotisserie, 455 n02877765 bottlecap, 857 n04429376 throne,
131 n02009229 little blue heron, 119 n01978455 rock crab, 234 n02106550 Rottweiler, 90 n01820546 lorikeet,
45 n01692333 Gila monster, 936 n07714571 head cabbage, 479 n02974003 car wheel, 272 n02114855 coyote,
665 n03785016 moped, 653 n03764736 milk can, 659 n03775546 mixing bowl, 158 n02087046 toy terrier,
960 n07836838 chocolate sauce, 765 n04099969 rocking chair, 908 n04592741 wing, 703 n03891251 park bench,
407 n02701002 ambulance, 560 n03379051 football helmet, 317 n02259212 leafhopper, 938 n07715103 cauliflower,
724 n03947888 pirate, 748 n04026417 purse, 331 n02326432 hare, 619 n03637318 lampshade, 120 n01980166 fiddler crab,
267 n02113799 standard poodle, 155 n02086240 Shih-Tzu, 708 n03903868 pedestal, 368 n02483362 gibbon,
772 n04127249 safety pin, 167 n02089973 English foxhound, 494 n03017168 chime,
180 n02093428 American Staffordshire terrier, 431 n02804414 bassinet, 342 n02396427 wild boar,
854 n04418357 theater curtain, 305 n02172182 dung beetle, 54 n01729322 hognose snake, 268 n02113978 Mexican hairless,
667 n03787032 mortarboard, 166 n02089867 Walker hound, 277 n02119022 red fox, 662 n03777754 modem,
798 n04238763 slide rule, 313 n02231487 walking stick, 498 n03032252 cinema, 299 n02138441 meerkat,
222 n02104029 kuvasz, 682 n03837869 obelisk, 593 n03494278 harmonica, 775 n04136333 sarong, 674 n03794056 mousetrap,
592 n03492542 hard disc, 137 n02018207 American coot, 758 n04067472 reel, 717 n03930630 pickup, 606 n03584829 iron,
281 n02123045 tabby, 796 n04229816 ski mask, 211 n02100583 vizsla, 620 n03642806 laptop, 830 n04336792 stretcher,
544 n03259280 Dutch oven, 275 n02116738 African hunting dog, 242 n02108089 boxer, 570 n03424325 gasmask,
99 n01855672 goose, 169 n02090622 borzoi
""")

# github.com/fastai/imagenette: ten classes that are easily told apart, and ten breeds of dogs.
IMAGENETTE = _listed("""
0 n01440764 tench, 217 n02102040 English springer, 482 n02979186 cassette player, 491 n03000684 chain saw,
497 n03028079 church, 566 n03394916 French horn, 569 n03417042 garbage truck, 571 n03425413 gas pump,
574 n03445777 golf ball, 701 n03888257 parachute
""")
IMAGEWOOF = _listed("""
155 n02086240 Shih-Tzu, 159 n02087394 Rhodesian ridgeback, 162 n02088364 beagle, 167 n02089973 English foxhound,
182 n02093754 Border terrier, 193 n02096294 Australian terrier, 207 n02099601 golden retriever,
229 n02105641 Old English sheepdog, 258 n02111889 Samoyed, 273 n02115641 dingo
""")

SUBSETS: Mapping[str, tuple[ImageNetClass, ...]] = {
    "imagenet-10": IMAGENET_100[:10],
    "imagenet-100": IMAGENET_100,
    "imagenette": IMAGENETTE,
    "imagewoof": IMAGEWOOF,
}
"""By the name that users give."""
