"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const create = (tag, text, className) => {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    if (className) made.className = className;
    return made;
  };
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const dark = matchMedia("(prefers-color-scheme: dark)");

  /** Four digits at most, without idle zeros. */
  function number(value) {
    if (value === null || value === undefined || Number.isNaN(value)) return "–";
    if (value === 0) return "0";
    const size = Math.abs(value);
    if (size < 1e-3 || size >= 1e6) return value.toExponential(2).replace(/\.?0+e/, "e").replace("e+", "e");
    const text = value.toFixed(Math.max(0, 3 - Math.floor(Math.log10(size))));
    return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
  }

  /** Round places on an axis. */
  function ticks(low, high, about) {
    const least = (high - low) / about;
    const power = 10 ** Math.floor(Math.log10(least));
    const step = [1, 2, 5, 10].find((digit) => digit * power >= least * (1 - 1e-9)) * power;
    const places = [];
    for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) places.push(i * step);
    return { places, step };
  }

  // ---- head, cards, warnings ----

  document.title = data.title + " · quantization report";
  byId("title").textContent = data.title;
  byId("footer").textContent = data.footer;
  for (const [name, value] of data.facts) {
    const fact = create("div");
    fact.append(create("dt", name), create("dd", value));
    byId("facts").append(fact);
  }
  for (const card of data.cards) {
    const box = create("div", undefined, "card");
    box.append(create("h3", card.name), create("strong", card.value), create("p", card.note));
    byId("cards").append(box);
  }
  if (data.warnings.length) {
    byId("warnings").hidden = false;
    byId("warning-count").textContent = data.warnings.length === 1 ? "1 warning" : data.warnings.length + " warnings";
    byId("warning-list").append(...data.warnings.map((warning) => create("li", warning)));
    byId("warnings").querySelector("details").open = data.warnings.length < 6;
  }

  // ---- charts in SVG ----

  const SVG = "http://www.w3.org/2000/svg";
  function draw(parent, tag, attributes, text) {
    const made = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    if (text !== undefined) made.textContent = text;
    parent.append(made);
    return made;
  }

  /** Clears a chart and gives it the size that it has on the screen. */
  function frame(svg, height) {
    const width = Math.max(280, svg.parentNode.clientWidth - 2 * parseFloat(getComputedStyle(svg.parentNode).paddingLeft));
    svg.replaceChildren();
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.style.height = height + "px";
    return { left: 56, right: width - 12, top: 12, bottom: height - 40, width };
  }

  /** Places on a logarithmic axis: powers of ten, and 2 and 5 times them where there are few. */
  function powers(low, high) {
    const first = Math.floor(Math.log10(low) + 1e-9);
    const last = Math.ceil(Math.log10(high) - 1e-9);
    const every = Math.ceil((last - first) / 7);
    const places = [];
    for (let power = first; power <= last; power++) {
      const digits = last - first < 3 ? [1, 2, 5] : [1];
      for (const digit of digits) places.push({ value: digit * 10 ** power, named: (power - first) % every === 0 });
    }
    const below = places.findLast((place) => place.value <= low * (1 + 1e-9));
    const above = places.find((place) => place.value >= high * (1 - 1e-9) && place !== below) || { value: 10 ** (last + 1) };
    return places.filter((place) => place.value >= below.value && place.value <= above.value);
  }

  /** The frame of a chart with a logarithmic upright axis; returns where values stand. */
  function logarithmic(svg, box, low, high, count, nameOfX) {
    const places = powers(low, high);
    const [bottom, top] = [Math.log10(places[0].value), Math.log10(places[places.length - 1].value)];
    const y = (value) => box.bottom - ((Math.log10(value) - bottom) / (top - bottom)) * (box.bottom - box.top);
    const x = (index) => box.left + (count < 2 ? 0.5 : index / (count - 1)) * (box.right - box.left);
    for (const { value, named } of places) {
      draw(svg, "line", { class: "grid", x1: box.left, x2: box.right, y1: y(value), y2: y(value) });
      if (named) draw(svg, "text", { x: box.left - 8, y: y(value) + 4, "text-anchor": "end" }, number(value));
    }
    const steps = ticks(0, Math.max(1, count - 1), Math.max(2, Math.floor(box.width / 90)));
    const whole = Math.max(1, Math.round(steps.step));
    for (let index = 0; index < count; index += whole) draw(svg, "text", { x: x(index), y: box.bottom + 18, "text-anchor": "middle" }, index);
    draw(svg, "line", { class: "axis", x1: box.left, x2: box.right, y1: box.bottom, y2: box.bottom });
    draw(svg, "text", { x: (box.left + box.right) / 2, y: box.bottom + 36, "text-anchor": "middle" }, nameOfX);
    return { x, y };
  }

  // ---- loss of each layer ----

  const LIGHT_CURVES = ["#2f5fd0", "#d2452c", "#1c8c5e", "#b9790a", "#7a4bc4", "#0f8aa3", "#c23a86", "#66707f", "#7f8f1a", "#8a5a3c"];
  const DARK_CURVES = ["#86a8ff", "#ff8f78", "#63cf9d", "#eab651", "#b99bf5", "#5cc8de", "#f08cc2", "#a7b1c0", "#c3d25c", "#d0a084"];
  const curves = new Map();
  let layers = 0;
  for (const linear of data.linears) {
    const parts = /^(.*?)\.(\d+)\.(.*)$/.exec(linear.name);
    if (!parts || !(linear.loss > 0)) continue;
    const kind = (parts[1].startsWith("visual") ? "visual " : "") + parts[3].replace(/\.\d+\./g, ".*.");
    if (!curves.has(kind)) curves.set(kind, { shown: true, losses: new Map() });
    const losses = curves.get(kind).losses;
    const layer = Number(parts[2]);
    losses.set(layer, (losses.get(layer) || 0) + linear.loss);
    layers = Math.max(layers, layer + 1);
  }
  byId("losses").hidden = curves.size === 0;
  byId("loss-hint").textContent = data.lossMeaning;

  function drawLosses() {
    const svg = byId("loss-chart");
    const palette = dark.matches ? DARK_CURVES : LIGHT_CURVES;
    const shown = [...curves.values()].filter((curve) => curve.shown).flatMap((curve) => [...curve.losses.values()]);
    const all = shown.length ? shown : [1];
    const box = frame(svg, 340);
    const place = logarithmic(svg, box, Math.min(...all), Math.max(...all), layers, "layer");
    [...curves].forEach(([kind, curve], i) => {
      if (!curve.shown) return;
      const stroke = palette[i % palette.length];
      const points = [...curve.losses].sort((a, b) => a[0] - b[0]);
      draw(svg, "polyline", { fill: "none", stroke, "stroke-width": 1.8, "stroke-linejoin": "round", points: points.map(([layer, loss]) => place.x(layer) + "," + place.y(loss)).join(" ") });
      for (const [layer, loss] of points) {
        const dot = draw(svg, "circle", { cx: place.x(layer), cy: place.y(loss), r: layers > 60 ? 2 : 3.5, fill: stroke });
        draw(dot, "title", {}, `layer ${layer} · ${kind}: ${number(loss)}`);
      }
    });
    [...byId("legend").children].forEach((button, i) => { button.querySelector("i").style.background = palette[i % palette.length]; });
  }
  for (const [kind, curve] of curves) {
    const button = create("button");
    button.type = "button";
    button.setAttribute("aria-pressed", "true");
    button.append(create("i"), kind.replace(/^(self_attn|mlp)\./, ""));
    button.addEventListener("click", () => {
      curve.shown = !curve.shown;
      button.setAttribute("aria-pressed", String(curve.shown));
      drawLosses();
    });
    byId("legend").append(button);
  }

  // ---- activation surfaces ----

  const STOPS = [0x2a2a6c, 0x2f4f9e, 0x2878ad, 0x1f9da4, 0x3dba8c, 0x83ce67, 0xcbdb48, 0xfbe34a];
  const DARK_STOPS = [0x3b4796, 0x3a62b4, 0x2f82b8, 0x26a3a9, 0x3dba8c, 0x83ce67, 0xcbdb48, 0xfbe34a];
  function paint(value, light) {
    const stops = dark.matches ? DARK_STOPS : STOPS;
    const place = Math.min(1, Math.max(0, value)) * (stops.length - 1);
    const low = Math.min(stops.length - 2, Math.floor(place));
    const channel = (shift) => {
      const a = (stops[low] >> shift) & 255;
      const b = (stops[low + 1] >> shift) & 255;
      return Math.min(255, Math.round((a + (place - low) * (b - a)) * light));
    };
    return `rgb(${channel(16)},${channel(8)},${channel(0)})`;
  }
  const SHADES = 64;
  let palette = [];
  function mixPalette() {
    palette = [];
    for (let light = 0; light < 8; light++) {
      for (let i = 0; i < SHADES; i++) palette.push(paint(i / (SHADES - 1), 0.8 + light * 0.045));
    }
  }

  const START = { turn: 33, tilt: 30 };
  const view = { ...START };
  const BOX = [1.35, 1.0, 0.66];

  /** One surface on one canvas; the view is common to all. */
  class Surface {
    constructor(canvas) {
      this.canvas = canvas;
      this.grid = null;
    }

    show(grid, top) {
      this.grid = grid;
      this.top = top > 0 ? top : 1;
      this.draw();
    }

    /** Where a point of the box stands; each coordinate runs from 0 to 1. */
    project(column, row, up) {
      const x = (column - 0.5) * BOX[0];
      const y = (row - 0.5) * BOX[1];
      const across = x * this.cosTurn - y * this.sinTurn;
      const away = x * this.sinTurn + y * this.cosTurn;
      const upward = (up - 0.5) * BOX[2] * this.cosTilt + away * this.sinTilt;
      return [this.centreX + this.scale * across, this.centreY - this.scale * upward];
    }

    draw() {
      if (!this.grid) return;
      const ratio = window.devicePixelRatio || 1;
      const width = this.canvas.clientWidth;
      const height = this.canvas.clientHeight;
      this.canvas.width = Math.round(width * ratio);
      this.canvas.height = Math.round(height * ratio);
      const pen = this.canvas.getContext("2d");
      pen.scale(ratio, ratio);
      pen.lineJoin = "round";
      const turn = (view.turn * Math.PI) / 180;
      const tilt = (view.tilt * Math.PI) / 180;
      [this.cosTurn, this.sinTurn, this.cosTilt, this.sinTilt] = [Math.cos(turn), Math.sin(turn), Math.cos(tilt), Math.sin(tilt)];
      this.fit(width, height);
      const far = { column: this.sinTurn > 0 ? 1 : 0, row: this.cosTurn > 0 ? 1 : 0 };
      this.walls(pen, far);
      this.cells(pen, far);
      this.labels(pen, far);
      this.canvas.dataset.turn = view.turn.toFixed(1);
      this.canvas.dataset.tilt = view.tilt.toFixed(1);
    }

    /** The box keeps its size while it turns. */
    fit(width, height) {
      const across = Math.hypot(BOX[0], BOX[1]);
      const upward = BOX[2] * this.cosTilt + across * this.sinTilt;
      this.scale = Math.min((width - 84) / across, (height - 64) / upward);
      this.centreX = width / 2 + 6;
      this.centreY = height / 2 - 12;
    }

    path(pen, points) {
      pen.beginPath();
      for (const point of points) pen.lineTo(...this.project(...point));
    }

    walls(pen, far) {
      const faces = [
        [colour("--floor"), [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]],
        [colour("--wall"), [[0, far.row, 0], [1, far.row, 0], [1, far.row, 1], [0, far.row, 1]]],
        [colour("--wall"), [[far.column, 0, 0], [far.column, 1, 0], [far.column, 1, 1], [far.column, 0, 1]]],
      ];
      for (const [fill, corners] of faces) {
        this.path(pen, corners);
        pen.closePath();
        pen.fillStyle = fill;
        pen.fill();
      }
      pen.strokeStyle = colour("--line");
      pen.lineWidth = 1;
      for (const up of ticks(0, this.top, 5).places.map((value) => value / this.top)) {
        this.path(pen, [[1 - far.column, far.row, up], [far.column, far.row, up], [far.column, 1 - far.row, up]]);
        pen.stroke();
      }
      for (const at of [0.25, 0.5, 0.75]) {
        this.path(pen, [[at, 1 - far.row, 0], [at, far.row, 0], [at, far.row, 1]]);
        pen.stroke();
        this.path(pen, [[1 - far.column, at, 0], [far.column, at, 0], [far.column, at, 1]]);
        pen.stroke();
      }
    }

    /** From the farthest cell to the nearest. */
    cells(pen, far) {
      const { rows, columns, cells, max } = this.grid;
      const factor = max / 255 / this.top;
      const points = new Float32Array(rows * columns * 2);
      for (let r = 0; r < rows; r++) {
        for (let c = 0; c < columns; c++) {
          const i = r * columns + c;
          const [x, y] = this.project(columns < 2 ? 0.5 : c / (columns - 1), rows < 2 ? 0.5 : r / (rows - 1), cells[i] * factor);
          points[2 * i] = x;
          points[2 * i + 1] = y;
        }
      }
      pen.lineWidth = 0.7;
      for (let i = 0; i < rows - 1; i++) {
        const r = far.row ? rows - 2 - i : i;
        for (let j = 0; j < columns - 1; j++) {
          const c = far.column ? columns - 2 - j : j;
          this.cell(pen, points, cells, factor, r * columns + c, columns);
        }
      }
    }

    cell(pen, points, cells, factor, a, columns) {
      const [b, d, e] = [a + 1, a + columns, a + columns + 1];
      const slope = (cells[b] + cells[e] - cells[a] - cells[d]) * factor * (this.cosTurn > 0 ? 1 : -1);
      const light = Math.max(0, Math.min(7, Math.round(4.4 + 9 * slope)));
      const peak = (Math.max(cells[a], cells[b], cells[d], cells[e]) + (cells[a] + cells[b] + cells[d] + cells[e]) / 4) / 2;
      const shade = Math.min(SHADES - 1, Math.round(peak * factor * (SHADES - 1)));
      pen.beginPath();
      pen.moveTo(points[2 * a], points[2 * a + 1]);
      pen.lineTo(points[2 * b], points[2 * b + 1]);
      pen.lineTo(points[2 * e], points[2 * e + 1]);
      pen.lineTo(points[2 * d], points[2 * d + 1]);
      pen.closePath();
      pen.fillStyle = pen.strokeStyle = palette[light * SHADES + shade];
      pen.fill();
      pen.stroke();
    }

    labels(pen, far) {
      pen.font = "11px system-ui, -apple-system, sans-serif";
      pen.fillStyle = colour("--muted");
      pen.strokeStyle = colour("--strong");
      pen.lineWidth = 1;
      const near = { column: 1 - far.column, row: 1 - far.row };
      this.path(pen, [[far.column, near.row, 0], [near.column, near.row, 0], [near.column, far.row, 0]]);
      pen.stroke();
      const middle = this.project(0.5, 0.5, 0);
      const { sourceRows, sourceColumns } = this.grid;
      this.edge(pen, middle, sourceColumns, "channel", (at) => this.project(at, near.row, 0));
      this.edge(pen, middle, sourceRows, "token", (at) => this.project(near.column, at, 0));
      const sides = [[near.column, far.row], [far.column, near.row]];
      const side = this.project(...sides[0], 0)[0] < this.project(...sides[1], 0)[0] ? sides[0] : sides[1];
      this.path(pen, [[...side, 0], [...side, 1]]);
      pen.stroke();
      pen.textAlign = "right";
      pen.textBaseline = "middle";
      for (const value of ticks(0, this.top, 5).places) {
        if (value === 0) continue;
        const [x, y] = this.project(...side, value / this.top);
        pen.fillText(number(value), x - 7, y);
      }
    }

    /** Numbers and a name outside of an edge of the floor. */
    edge(pen, middle, count, name, at) {
      const [x, y] = at(0.5);
      const length = Math.hypot(x - middle[0], y - middle[1]) || 1;
      const [outX, outY] = [(x - middle[0]) / length, (y - middle[1]) / length];
      const ends = [at(0), at(1)];
      const seen = Math.hypot(ends[0][0] - ends[1][0], ends[0][1] - ends[1][1]);
      pen.textAlign = "center";
      pen.textBaseline = "middle";
      if (seen < 60) return;
      const last = Math.max(1, count - 1);
      const step = Math.max(1, ticks(0, last, seen / 55).step);
      for (let value = step; value <= last - step / 2; value += step) {
        const p = at(value / last);
        pen.fillText(String(Math.round(value)), p[0] + 14 * outX, p[1] + 12 * outY);
      }
      pen.fillText(name, x + 44 * outX, y + 32 * outY);
    }
  }

  const surfaces = [new Surface(byId("before")), new Surface(byId("after"))];
  const recorded = data.blocks.filter((block) => block.surfaces && block.surfaces.length);

  function decoded(grid, shape) {
    const text = atob(grid.data);
    const cells = new Uint8Array(text.length);
    for (let i = 0; i < cells.length; i++) cells[i] = text.charCodeAt(i);
    return { ...shape, cells, max: grid.max };
  }

  let drawing = false;
  function redraw() {
    if (drawing) return;
    drawing = true;
    requestAnimationFrame(() => {
      drawing = false;
      surfaces.forEach((surface) => surface.draw());
    });
  }

  function chosenSurface() {
    return recorded[Number(byId("surface-layer").value)].surfaces[Number(byId("surface-linear").value)];
  }

  function showSurface() {
    const chosen = chosenSurface();
    const shape = { rows: chosen.rows, columns: chosen.columns, sourceRows: chosen.source_rows, sourceColumns: chosen.source_columns };
    const grids = [decoded(chosen.before, shape), decoded(chosen.after, shape)];
    const common = Math.max(grids[0].max, grids[1].max);
    grids.forEach((grid, i) => {
      surfaces[i].show(grid, byId("same-scale").checked ? common : grid.max);
      byId(i ? "after-note" : "before-note").textContent = "largest " + number(grid.max);
    });
    const ends = byId("same-scale").checked ? ["0", number(common)] : ["0", "largest of each"];
    byId("colour-ends").replaceChildren(...ends.map((end) => create("span", end)));
  }

  function showLayer(keep) {
    const block = recorded[Number(byId("surface-layer").value)];
    const select = byId("surface-linear");
    const before = keep ? select.value : "0";
    select.replaceChildren(...block.surfaces.map((surface, i) => new Option(surface.name, String(i))));
    if (Number(before) < block.surfaces.length) select.value = before;
    showSurface();
  }

  function drawColours() {
    const canvas = byId("colours");
    canvas.width = 256;
    const pen = canvas.getContext("2d");
    for (let i = 0; i < 256; i++) {
      pen.fillStyle = paint(i / 255, 1);
      pen.fillRect(i, 0, 1, canvas.height);
    }
  }

  function turnBy(degrees, up) {
    view.turn = (((view.turn + degrees) % 360) + 360) % 360;
    view.tilt = Math.min(88, Math.max(4, view.tilt + up));
    redraw();
  }

  for (const { canvas } of surfaces) {
    let held = null;
    canvas.addEventListener("pointerdown", (event) => {
      held = [event.clientX, event.clientY];
      canvas.setPointerCapture(event.pointerId);
      canvas.classList.add("held");
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!held) return;
      turnBy((event.clientX - held[0]) * -0.45, (event.clientY - held[1]) * 0.35);
      held = [event.clientX, event.clientY];
    });
    const release = () => {
      held = null;
      canvas.classList.remove("held");
    };
    canvas.addEventListener("pointerup", release);
    canvas.addEventListener("pointercancel", release);
    canvas.addEventListener("keydown", (event) => {
      const turns = { ArrowLeft: [6, 0], ArrowRight: [-6, 0], ArrowUp: [0, 4], ArrowDown: [0, -4] }[event.key];
      if (!turns) return;
      event.preventDefault();
      turnBy(...turns);
    });
  }
  byId("reset-view").addEventListener("click", () => {
    Object.assign(view, START);
    redraw();
  });
  byId("activation-hint").textContent = data.activationMeaning;
  byId("activation-panel").hidden = recorded.length === 0;
  if (recorded.length) {
    byId("surface-layer").append(...recorded.map((block, i) => new Option(block.block.replace(/^.*?(\d+)$/, "$1"), String(i))));
    byId("surface-layer").addEventListener("change", () => showLayer(true));
    byId("surface-linear").addEventListener("change", showSurface);
    byId("same-scale").addEventListener("change", showSurface);
  }

  // ---- smoothing scales ----

  const scales = data.blocks.flatMap((block) => block.scales || []);
  const folds = new Map(data.folds.map((fold) => [fold.producer, fold]));
  byId("smoothing").hidden = scales.length === 0;

  function drawScales() {
    if (!scales.length) return;
    const chosen = scales[Number(byId("fold").value)];
    const fold = folds.get(chosen.producer) || {};
    const svg = byId("scale-chart");
    const box = frame(svg, 260);
    const low = Math.min(1, chosen.min);
    const high = Math.max(1, chosen.max);
    const place = logarithmic(svg, box, low, high, chosen.channels, "channel");
    const one = place.y(1);
    let bars = "";
    chosen.values.forEach((value, i) => {
      const x = box.left + (chosen.values.length < 2 ? 0.5 : i / (chosen.values.length - 1)) * (box.right - box.left);
      bars += `M${x.toFixed(1)} ${one.toFixed(1)}V${place.y(value).toFixed(1)}`;
    });
    const thickness = Math.max(0.8, Math.min(5, (0.6 * (box.right - box.left)) / chosen.values.length));
    draw(svg, "path", { d: bars, stroke: colour("--accent"), "stroke-width": thickness, fill: "none" });
    draw(svg, "line", { class: "axis", x1: box.left, x2: box.right, y1: one, y2: one });
    const judged = fold.loss_before > 0 && fold.loss > 0 ? ` · loss ${number(fold.loss_before)} → ${number(fold.loss)}` : "";
    const ratio = fold.ratio === null || fold.ratio === undefined ? "" : ` · ratio ${number(fold.ratio)}`;
    byId("fold-note").textContent = `${number(chosen.min)} to ${number(chosen.max)}, median ${number(chosen.median)}${ratio}${judged}`;
  }
  byId("fold").append(...scales.map((scale, i) => new Option(scale.producer, String(i))));
  byId("fold").addEventListener("change", drawScales);

  // ---- table ----

  const COLUMNS = [
    { name: "Linear", of: (row) => row.name, text: true },
    { name: "Shape", of: (row) => row.shape || "–", by: (row) => row.weights || 0 },
    { name: "Method", of: (row) => row.method, text: true },
    { name: "Bits", of: (row) => number(row.bits), by: (row) => row.bits || 0 },
    { name: "Loss", of: (row) => number(row.loss), by: (row) => row.loss },
    { name: "Tokens", of: (row) => row.tokens.toLocaleString("en"), by: (row) => row.tokens },
    { name: "Damping", of: (row) => number(row.damping), by: (row) => row.damping },
    { name: "Time, s", of: (row) => row.seconds.toFixed(2), by: (row) => row.seconds },
    { name: "Notes", of: (row) => row.notes.join("; "), text: true, class: "notes" },
  ].filter((column) => column.name !== "Notes" || data.linears.some((row) => row.notes.length));
  const PAGE = 200;
  const sorting = { column: null, falling: false };
  const natural = new Intl.Collator("en", { numeric: true });
  let shownRows = PAGE;

  function drawTable() {
    const words = byId("filter").value.trim().toLowerCase();
    let rows = data.linears.filter((row) => row.name.toLowerCase().includes(words));
    if (sorting.column) {
      const { of, by, text } = sorting.column;
      const order = text ? (a, b) => natural.compare(of(a), of(b)) : (a, b) => by(a) - by(b);
      rows = [...rows].sort((a, b) => (sorting.falling ? order(b, a) : order(a, b)));
    }
    byId("row-count").textContent = rows.length === data.linears.length ? `${rows.length} linears` : `${rows.length} of ${data.linears.length} linears`;
    const body = byId("table").tBodies[0];
    body.replaceChildren(
      ...rows.slice(0, shownRows).map((row) => {
        const line = create("tr");
        for (const column of COLUMNS) {
          const cell = create("td", column.of(row), [column.text ? "text" : "", column.class || ""].join(" ").trim());
          if (column === COLUMNS[0]) cell.title = row.name;
          line.append(cell);
        }
        return line;
      })
    );
    byId("more").hidden = rows.length <= shownRows;
    byId("more").textContent = `Show all ${rows.length}`;
  }

  const head = create("tr");
  for (const column of COLUMNS) {
    const cell = create("th", undefined, column.text ? "text" : "");
    cell.scope = "col";
    const button = create("button", column.name);
    button.type = "button";
    button.addEventListener("click", () => {
      sorting.falling = sorting.column === column ? !sorting.falling : !column.text;
      sorting.column = column;
      for (const other of head.children) other.removeAttribute("aria-sort");
      cell.setAttribute("aria-sort", sorting.falling ? "descending" : "ascending");
      drawTable();
    });
    cell.append(button);
    head.append(cell);
  }
  byId("table").tHead.append(head);
  byId("filter").addEventListener("input", () => {
    shownRows = PAGE;
    drawTable();
  });
  byId("more").addEventListener("click", () => {
    shownRows = Infinity;
    drawTable();
  });

  // ---- everything that depends on size and scheme ----

  function drawAll() {
    mixPalette();
    drawColours();
    if (curves.size) drawLosses();
    drawScales();
    surfaces.forEach((surface) => surface.draw());
  }
  mixPalette();
  if (recorded.length) showLayer(false);
  drawTable();
  drawAll();
  dark.addEventListener("change", drawAll);
  addEventListener("resize", drawAll);
  document.body.dataset.ready = "true";
})();
