// Decodes mosaics when they are first asked for, and sorts tables. The page reads without it.
(() => {
  const bilinear = (piece, sheet) => {
    const own = getComputedStyle(piece);
    const number = (name) => Number(own.getPropertyValue(name));
    const [tileWidth, tileHeight] = [number("--tile-width"), number("--tile-height")];
    const small = Object.assign(document.createElement("canvas"), { width: tileWidth, height: tileHeight });
    const paint = small.getContext("2d");
    paint.fillStyle = "rgb(128, 128, 128)";
    paint.fillRect(0, 0, tileWidth, tileHeight);
    const [w, h] = [number("--w"), number("--h")];
    paint.drawImage(sheet, number("--x"), number("--y"), w, h, 0, 0, w, h);
    const whole = document.createElement("canvas");
    [whole.width, whole.height] = [number("--full-width"), number("--full-height")];
    const large = whole.getContext("2d");
    large.imageSmoothingEnabled = true;
    large.drawImage(small, 0, 0, whole.width, whole.height);
    whole.style.width = `calc(${whole.width} * var(--decoded) * 1px)`;
    piece.replaceWith(whole);
  };
  const sheetOf = (piece) => {
    const sheet = new Image();
    sheet.src = getComputedStyle(piece).backgroundImage.slice(5, -2);
    return sheet.decode().then(() => sheet);
  };
  for (const gallery of document.querySelectorAll(".gallery")) {
    gallery.querySelector(".tiled")?.addEventListener("change", () => {
      const pieces = [...gallery.querySelectorAll(".cut .px")];
      if (pieces.length) sheetOf(pieces[0]).then((sheet) => pieces.forEach((piece) => bilinear(piece, sheet)));
    });
  }
  const value = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.value === undefined ? cell.textContent.trim() : Number(cell.dataset.value);
  };
  const compare = (one, other) => (typeof one === "number" ? one - other : String(one).localeCompare(String(other)));
  for (const table of document.querySelectorAll("table.sortable")) {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent.trim();
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        [...table.tHead.rows[0].cells].forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const rows = [...table.tBodies[0].rows];
        rows.sort((one, other) => compare(value(one, column), value(other, column)) * (down ? -1 : 1));
        table.tBodies[0].append(...rows);
      });
    });
  }
})();
