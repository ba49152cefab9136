// The page of a sweep: what is ticked and within the budget is drawn.
(() => {
"use strict";
const get = id => document.getElementById(id);
const data = JSON.parse(get("data").textContent);
// Width of a chart on paper, in pixels.
const PRINTED = 640;
const LEVEL = 0.95, FRACTION = 0.25, REPEATS = 2000, PER_PAGE = 100;
// More points than these are drawn as pixels.
const MANY_POINTS = 2000;
const column = name => data.columns.indexOf(name);
const SPACE = column("space"), INDEX = column("index");
const ERROR = column("error");
const properties = new Map(data.properties.map(p => [p.name, p]));
const state = {
  ticked: new Set(data.spaces.keys()),
  bounds: {},
  property: data.properties.length ? data.properties[0].name : null,
  focus: null, chosen: null, page: 0, sortedBy: "error", rising: true,
};
const trained = [...data.rows.keys()].filter(i => data.rows[i][ERROR] !== null);

// --- Elements: text stays text, whatever a record says ----------------------

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made[name] = value;
    else if (value !== false) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}
function drawn(tag, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) {
    made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}
function short(value) {
  if (value === null) return "";
  const size = Math.abs(value);
  for (const [unit, letter] of [[1e9, "G"], [1e6, "M"], [1e4, "k"]]) {
    if (size >= unit) {
      return `${Number((value / (letter === "k" ? 1e3 : unit)).toPrecision(3))}`
        + ` ${letter}`;
    }
  }
  return String(Number(value.toPrecision(4)));
}
const signed = value => (value < 0 ? "\u2212" : "+") +
  Math.abs(value).toFixed(1);
const nameOf = i => data.spaces[data.rows[i][SPACE]].name;
const errorOf = i => data.rows[i][ERROR];

// --- Statistics, for the networks shown --------------------------------------

function randomNumbers(seed) {  // mulberry32: the same each time
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
const mean = values => values.reduce((sum, v) => sum + v, 0) / values.length;
function quantile(sorted, share) {
  const place = share * (sorted.length - 1), low = Math.floor(place);
  const next = sorted[Math.min(low + 1, sorted.length - 1)];
  return sorted[low] + (place - low) * (next - sorted[low]);
}
// The bootstrap of the best value (the paper's footnote 4) without random
// numbers: the chance that the best of m drawn networks has rank r.
function bestValue(values, errors) {
  const n = values.length, m = Math.max(1, Math.round(FRACTION * n));
  const order = [...values.keys()].sort((a, b) => errors[a] - errors[b]);
  const weighted = order.map((i, r) => [values[i],
    ((n - r) / n) ** m - ((n - r - 1) / n) ** m]);
  weighted.sort((a, b) => a[0] - b[0]);
  return [(1 - LEVEL) / 2, 0.5, (1 + LEVEL) / 2].map(share => {
    let reached = 0;
    for (const [value, weight] of weighted) {
      reached += weight;
      if (reached >= share - 1e-12) return value;
    }
    return weighted[n - 1][0];
  });
}
function resampledMeans(values, seed) {
  const random = randomNumbers(seed), n = values.length;
  const repeats = Math.max(500, Math.min(REPEATS, Math.floor(5e5 / n)));
  return Float64Array.from({length: repeats}, () => {
    let sum = 0;
    for (let k = 0; k < n; k++) sum += values[Math.floor(random() * n)];
    return sum / n;
  });
}

// --- What is shown ------------------------------------------------------------

const budgets = data.budgets.map(name => properties.get(name));
const isWhole = () => Object.keys(state.bounds).length === 0;
function within(i) {
  return Object.entries(state.bounds).every(([name, [low, high]]) => {
    const value = properties.get(name).values[i];
    return low <= value && value <= high;
  });
}
let shown = [], bySpace = new Map();
function select() {
  shown = trained.filter(i => state.ticked.has(data.rows[i][SPACE]) &&
    within(i));
  bySpace = new Map([...state.ticked].sort((a, b) => a - b).map(s => [s, []]));
  for (const i of shown) bySpace.get(data.rows[i][SPACE]).push(i);
  for (const rows of bySpace.values()) {
    rows.sort((a, b) => errorOf(a) - errorOf(b));
  }
}
function bandOf(space) {  // [low, high] by how many errors are below
  const n = bySpace.get(space).length, whole = data.spaces[space];
  if (isWhole()) return [whole.low, whole.high];
  const distance = Math.sqrt(Math.log(2 / (1 - LEVEL)) / (2 * n));
  const shares = Array.from({length: n + 1}, (_, k) => k / n);
  return [shares.map(s => Math.max(0, s - distance)),
    shares.map(s => Math.min(1, s + distance))];
}

// --- Charts ---------------------------------------------------------------------

const views = {};
// The axis that says "value" says which: specifications cannot.
function relabel(compiled) {
  compiled.signals.push({name: "label", value: ""});
  for (const axis of compiled.axes || []) {
    if (axis.title === "value") axis.title = {signal: "label"};
  }
  return compiled;
}
async function embed(id, renderer) {
  const result = await vegaEmbed(get(id), data.charts[id],
    {actions: false, ast: true, renderer, patch: relabel});
  views[id] = result.view;
}
function push(id, sets) {
  const view = views[id];
  if (!view) return;
  for (const [name, rows] of Object.entries(sets)) view.data(name, rows);
  view.runAsync();
}
function steps(space) {
  const errors = bySpace.get(space).map(errorOf), n = errors.length;
  const name = data.spaces[space].name, rows = [];
  const [start, end] = ends();
  rows.push({space: name, error: start, share: 0});
  errors.forEach((error, k) => {
    if (error !== errors[k + 1]) {
      rows.push({space: name, error, share: (k + 1) / n});
    }
  });
  rows.push({space: name, error: end, share: 1});
  return rows;
}
function ends() {
  const errors = shown.map(errorOf);
  const low = errors.reduce((a, b) => Math.min(a, b), Infinity);
  const high = errors.reduce((a, b) => Math.max(a, b), -Infinity);
  const margin = 0.03 * ((high - low) || 1);
  return [Math.max(0, low - margin), high + margin];
}
function bandRows(space) {
  const rows = bySpace.get(space) || [];
  if (!rows.length) return [];
  const [low, high] = bandOf(space), name = data.spaces[space].name;
  const [start, end] = ends();
  const row = (error, k) => ({space: name, error, low: low[k], high: high[k]});
  const made = [row(start, 0)];
  rows.forEach((i, k) => {
    if (k + 1 === rows.length || errorOf(rows[k + 1]) !== errorOf(i)) {
      made.push(row(errorOf(i), k + 1));
    }
  });
  return [...made, row(end, rows.length)];
}
const filled = () => [...bySpace.keys()].filter(s => bySpace.get(s).length);
function drawEdf() {
  push("edf", {edf: filled().flatMap(steps),
    band: state.focus === null ? [] : bandRows(state.focus)});
}
function curveOf(space) {
  const all = bySpace.get(space).map(i => data.curves[i]);
  const length = Math.max(0, ...all.map(curve => curve.length));
  const curves = all.filter(curve => curve.length === length);
  return Array.from({length}, (_, epoch) => {
    const errors = curves.map(c => c[epoch]).sort((a, b) => a - b);
    return {space: data.spaces[space].name, epoch: epoch + 1,
      error: mean(errors), low: quantile(errors, .25),
      high: quantile(errors, .75)};
  });
}
function drawCurves() {
  push("curves", {curves: filled().flatMap(curveOf),
    band: state.focus === null || !bySpace.has(state.focus) ? [] :
      curveOf(state.focus)});
}
function valuesShown() {
  const values = properties.get(state.property).values;
  return shown.filter(i => values[i] !== null);
}
function drawScatter() {
  if (state.property === null || !views.scatter) return;
  const {label, values} = properties.get(state.property);
  const rows = valuesShown();
  const point = i => ({row: i, space: nameOf(i), index: data.rows[i][INDEX],
    error: errorOf(i), value: values[i]});
  const best = [];
  let text = `No network shown has the property ${label}.`;
  if (rows.length >= data.min_compared) {
    const [low, median, high] = bestValue(rows.map(i => values[i]),
      rows.map(errorOf));
    best.push({low, median, high});
    text = `Best ${label}: ${short(median)}, 95 % interval ${short(low)} to ` +
      `${short(high)} (${rows.length} networks)`;
  } else if (rows.length) {
    text = `${label}: ${rows.length} networks are too few for an interval`;
  }
  get("best-said").textContent = text;
  const marked = state.chosen !== null && values[state.chosen] !== null &&
    shown.includes(state.chosen);
  views.scatter.signal("label", label);
  push("scatter", {points: rows.map(point), best,
    chosen: marked ? [point(state.chosen)] : []});
}
function highlight(space) {
  if (space !== null && !state.ticked.has(space)) space = null;
  if (space === state.focus) return;
  state.focus = space;
  for (const view of Object.values(views)) {
    view.signal("focus", space === null ? "" : data.spaces[space].name);
  }
  drawEdf();
  drawCurves();
  drawScatter();
  sayFocus();
}
function sayFocus() {
  const rows = state.focus === null ? null : bySpace.get(state.focus);
  let text = "Point at a curve, or at a space in the list, for its 95 % " +
    "confidence band, which holds everywhere at once.";
  if (rows && rows.length) {
    const errors = rows.map(errorOf);
    text = `${data.spaces[state.focus].name}: n = ${rows.length}, min ` +
      `${errors[0].toFixed(1)} %, median ${quantile(errors, .5).toFixed(1)} ` +
      `%, mean ${mean(errors).toFixed(1)} %. Its 95 % confidence band.`;
  }
  get("edf-said").textContent = text;
}

// --- Differences ------------------------------------------------------------------

function comparisons(spaces) {
  const found = new Map();
  if (isWhole()) {
    const number = new Map(data.spaces.map((s, k) => [s.name, k]));
    for (const c of data.comparisons) {
      const a = number.get(c.first), b = number.get(c.second);
      found.set(`${a} ${b}`, [c.difference, c.low, c.high]);
      found.set(`${b} ${a}`, [-c.difference, -c.high, -c.low]);
    }
    return found;
  }
  const enough = spaces.filter(
    s => bySpace.get(s).length >= data.min_compared);
  const errors = new Map(enough.map(s => [s, bySpace.get(s).map(errorOf)]));
  const means = new Map(enough.map(
    s => [s, resampledMeans(errors.get(s), s + 1)]));
  for (const a of enough) {
    for (const b of enough) {
      if (a === b) continue;
      const first = means.get(a), second = means.get(b);
      const length = Math.min(first.length, second.length);
      const differences = Float64Array.from({length},
        (_, k) => first[k] - second[k]).sort();
      found.set(`${a} ${b}`, [mean(errors.get(a)) - mean(errors.get(b)),
        quantile(differences, (1 - LEVEL) / 2),
        quantile(differences, (1 + LEVEL) / 2)]);
    }
  }
  return found;
}
function drawDifferences() {
  const means = new Map(filled().map(
    s => [s, mean(bySpace.get(s).map(errorOf))]));
  const spaces = filled().sort((a, b) => means.get(a) - means.get(b));
  const found = comparisons(spaces);
  const head = element("tr", {}, element("th", {},
    "row minus column, points"), ...spaces.map(
    s => element("th", {scope: "col"}, data.spaces[s].name)));
  const body = spaces.map(a => element("tr", {}, element("th", {scope: "row"},
    data.spaces[a].name, element("small", {class: "note"},
      ` ${means.get(a).toFixed(1)} %`)),
  ...spaces.map(b => difference(a, b, found.get(`${a} ${b}`)))));
  get("differences").replaceChildren(element("thead", {}, head),
    element("tbody", {}, ...body));
  const n = data.min_compared;
  get("differences-said").replaceChildren(
    "Mean error of the row's space minus the column's, with its 95 % interval" +
    " (bootstrap). ", element("span", {class: "key better"}, "row better"),
    " ", element("span", {class: "key worse"}, "row worse"),
    " only where the interval leaves out zero. Spaces with fewer than " +
    `${n} networks are not compared.` + (isWhole() ? "" :
    " Computed here from the networks within the budget."));
}
function difference(a, b, found) {
  if (a === b) return element("td", {}, "\u00b7");
  if (!found) return element("td", {class: "note"}, "too few");
  const [value, low, high] = found;
  const kind = high < 0 ? "better" : low > 0 ? "worse" : "";
  return element("td", {class: kind, title: `${data.spaces[a].name} minus ` +
    data.spaces[b].name + (kind ? `: ${kind}` : ": not certain")},
  signed(value), element("small", {}, `${signed(low)} to ${signed(high)}`));
}

// --- A network ------------------------------------------------------------------

function configOf(i) {
  const [kind, own] = data.configs.rows[i];
  let next = 0;
  return JSON.stringify(Object.fromEntries(data.configs.kinds[kind].map(
    ([name, common]) => [name, common === null ? own[next++] : common[0]])));
}
function describe(i) {
  const [depths, widths, groups, ratios] = data.stages[i];
  return `d ${depths.join(" ")}; w ${widths.join(" ")}; g ` +
    `${groups.join(" ")}; b ${ratios.join(" ")}`;
}
// Each block a bar as high as it is wide, on a logarithmic scale.
function picture(i) {
  const [depths, widths, groups, ratios, strides] = data.stages[i];
  const blocks = depths.reduce((a, b) => a + b, 0);
  const gap = 8, width = 320, height = 130, floor = 104;
  const bar = (width - gap * (depths.length - 1)) / blocks;
  const low = Math.log(Math.min(...widths) / 2);
  const high = Math.log(Math.max(...widths));
  const made = drawn("svg", {viewBox: `0 0 ${width} ${height}`, role: "img",
    "aria-label": `Stages: ${describe(i)}`});
  let x = 0;
  depths.forEach((depth, s) => {
    const up = (floor - 18) * (Math.log(widths[s]) - low) / (high - low);
    for (let k = 0; k < depth; k++) {
      made.append(drawn("rect", {x: x + k * bar + .5, y: floor - up,
        width: Math.max(bar - 1, .5), height: up,
        fill: k === 0 && strides[s] > 1 ? "#003f66" : "#0072b2"}));
    }
    const middle = x + depth * bar / 2;
    const edge = text => Math.min(width - text.length * 3.2,
      Math.max(text.length * 3.2, middle));
    const above = String(widths[s]), below = `\u00d7${depth}`;
    made.append(drawn("text", {x: edge(above), y: floor - up - 4,
      "font-size": 11, "text-anchor": "middle"}, above));
    made.append(drawn("text", {x: edge(below), y: floor + 13, "font-size": 11,
      "text-anchor": "middle"}, below));
    x += depth * bar + gap;
  });
  made.append(drawn("text", {x: 0, y: height - 1, "font-size": 10,
    fill: "#4a4a4a"}, "height: width of a block; dark: stride 2"));
  return made;
}
function stageTable(i) {
  const [depths, widths, groups, ratios, strides] = data.stages[i];
  const line = (...cells) => element("tr", {}, ...cells);
  return element("table", {}, element("thead", {}, line(
    ...["stage", "blocks", "width", "group", "b", "stride"].map(
      text => element("th", {class: "number", scope: "col"}, text)))),
  element("tbody", {}, ...depths.map((depth, s) => line(
    ...[s + 1, depth, widths[s], groups[s], ratios[s], strides[s]].map(
      value => element("td", {class: "number"}, String(value)))))));
}
function ranked() {
  return [...shown].sort((a, b) => errorOf(a) - errorOf(b) || a - b);
}
function copyButton(text, what, id) {
  const button = element("button", {type: "button", id}, `copy ${what}`);
  button.onclick = async () => {
    button.textContent = await copied(text) ? "copied" : "select it by hand";
    setTimeout(() => { button.textContent = `copy ${what}`; }, 1500);
  };
  return button;
}
async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = element("textarea", {}, text);
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}
function drawNetwork() {
  const panel = get("network"), i = state.chosen;
  if (i === null) {
    panel.replaceChildren("No network has been trained yet.");
    return;
  }
  const order = ranked(), rank = order.indexOf(i), config = configOf(i);
  const row = data.rows[i], file = "network.json";
  const run = `${nameOf(i)}_${row[INDEX]}`.replace(/[^A-Za-z0-9_]+/g, "_");
  const command = `python training/main.py --variant=${file} ` +
    `${data.training} --workdir=runs/${run}`;
  const step = (text, id, by) => element("button", {type: "button", id,
    disabled: order[rank + by] === undefined && "", onclick: () => {
      choose(order[rank + by]);
      get(id).focus();
    }}, text);
  const facts = data.properties.flatMap(({label, values}) =>
    values[i] === null ? [] : [element("dt", {}, label),
      element("dd", {}, short(values[i]))]);
  panel.replaceChildren(
    element("h3", {}, `${nameOf(i)} #${row[INDEX]}: ` +
      `${errorOf(i).toFixed(2)} % error`),
    element("div", {class: "note"}, rank < 0 ? "not among those shown" :
      `${rank + 1} of ${order.length} by error`),
    element("p", {class: "buttons"}, step("better", "better", -1),
      step("worse", "worse", 1)),
    picture(i), element("div", {class: "wide"}, stageTable(i)),
    element("dl", {}, ...facts),
    element("h4", {}, "Configuration"), element("pre", {tabindex: 0}, config),
    element("p", {class: "buttons"},
      copyButton(config, "configuration", "copy-config"),
      element("a", {download: file, href: "data:application/json," +
        encodeURIComponent(config)}, `save as ${file}`)),
    element("h4", {}, "Train it on your images"),
    element("pre", {tabindex: 0}, command),
    element("p", {class: "buttons"},
      copyButton(command, "command", "copy-command")));
}
function choose(i, scroll) {
  state.chosen = i;
  drawNetwork();
  drawScatter();
  drawTable();
  if (scroll) get("network").scrollIntoView({block: "nearest"});
}

// --- The table ------------------------------------------------------------------

const COLUMNS = ["space", "index", "error", ...data.properties.filter(
  p => ["depth", ...data.budgets].includes(p.name)).map(p => p.name),
"network", "seconds", "attempt", "trial"];
function cell(i, name) {
  if (name === "space") return nameOf(i);
  if (name === "network") return describe(i);
  return properties.has(name) ? properties.get(name).values[i] :
    data.rows[i][column(name)];
}
function listed() {
  const text = get("text").value.toLowerCase(), by = state.sortedBy;
  const sign = state.rising ? 1 : -1;
  return shown.filter(i => !text || COLUMNS.some(
    name => String(cell(i, name)).toLowerCase().includes(text))).sort((a, b) => {
    const x = cell(a, by), y = cell(b, by);
    return x === y ? a - b : (x < y ? -sign : sign);
  });
}
function drawTable() {
  if (!get("list").open) return;
  const rows = listed(), pages = Math.max(1, Math.ceil(rows.length / PER_PAGE));
  state.page = Math.min(Math.max(state.page, 0), pages - 1);
  get("count").textContent = `${rows.length} of ${trained.length} networks`;
  get("page").textContent = `page ${state.page + 1} of ${pages}`;
  get("trials").tHead.replaceChildren(element("tr", {}, ...COLUMNS.map(heading)));
  const first = state.page * PER_PAGE;
  get("trials").tBodies[0].replaceChildren(
    ...rows.slice(first, first + PER_PAGE).map(line));
}
function heading(name) {
  const sorted = name === state.sortedBy;
  return element("th", {scope: "col", "aria-sort": sorted ?
    (state.rising ? "ascending" : "descending") : "none"},
  element("button", {type: "button", id: `sort-${name}`, onclick: () => {
    state.rising = sorted ? !state.rising : true;
    state.sortedBy = name;
    drawTable();
    get(`sort-${name}`).focus();
  }}, name + (sorted ? (state.rising ? " \u25b2" : " \u25bc") : "")));
}
function line(i) {
  const cells = COLUMNS.map(name => {
    const value = cell(i, name);
    if (name === "index") {
      return element("td", {class: "number"}, element("button", {
        type: "button", "aria-label": `show network ${value}`,
        onclick: () => choose(i, true)}, String(value)));
    }
    const isNumber = typeof value === "number";
    return element("td", {class: isNumber ? "number" : ""},
      isNumber ? value.toLocaleString() : String(value));
  });
  return element("tr", {class: i === state.chosen ? "chosen" : ""}, ...cells);
}

// --- What a person moves ----------------------------------------------------------

function update() {
  select();
  if (state.focus !== null && !state.ticked.has(state.focus)) highlight(null);
  get("shown").textContent = `${shown.length} of ${trained.length} networks ` +
    "shown";
  get("of-all").hidden = shown.length === trained.length;
  state.page = 0;
  drawEdf();
  drawDifferences();
  drawScatter();
  drawCurves();
  drawNetwork();
  drawTable();
  sayFocus();
}
let waiting = null;
function soon() {
  clearTimeout(waiting);
  waiting = setTimeout(update, 80);
}
const MARKS = {circle: "M-5,0a5,5 0 1,0 10,0a5,5 0 1,0 -10,0",
  square: "M-4.5,-4.5h9v9h-9z", "triangle-up": "M0,-5.5L5.5,4.5H-5.5z",
  diamond: "M0,-6L5,0L0,6L-5,0z",
  cross: "M-2,-5.5h4v3.5h3.5v4h-3.5v3.5h-4v-3.5h-3.5v-4h3.5z",
  "triangle-down": "M0,5.5L5.5,-4.5H-5.5z"};
function swatch({color, dash, shape}) {
  return drawn("svg", {width: 44, height: 14, viewBox: "0 0 44 14",
    "aria-hidden": "true"},
  drawn("line", {x1: 0, x2: 44, y1: 7, y2: 7, stroke: color,
    "stroke-width": 2.2, "stroke-dasharray": dash.join(" ")}),
  drawn("path", {d: MARKS[shape], transform: "translate(22 7)", fill: color}));
}
function spaceTicks() {
  data.spaces.forEach((space, s) => {
    const box = element("input", {type: "checkbox", checked: ""});
    box.onchange = () => {
      if (box.checked) state.ticked.add(s);
      else state.ticked.delete(s);
      update();
      highlight(box.checked ? s : null);
    };
    const label = element("label", {}, box, swatch(space),
      element("span", {}, space.name),
      element("span", {class: "counts"}, space.counts));
    box.onfocus = label.onpointerenter = () => highlight(s);
    box.onblur = label.onpointerleave = () => highlight(null);
    get("spaces").append(label);
  });
  const tickAll = on => {
    state.ticked = new Set(on ? data.spaces.keys() : []);
    for (const box of get("spaces").querySelectorAll("input")) box.checked = on;
    update();
  };
  get("all").onclick = () => tickAll(true);
  get("none").onclick = () => tickAll(false);
}
function sliders() {
  get("budget").hidden = !budgets.length;
  for (const {name, label, values} of budgets) {
    const sorted = trained.map(i => values[i]).sort((a, b) => a - b);
    if (!sorted.length) continue;
    const last = sorted.length - 1, said = element("output");
    const range = (text, value) => element("input", {type: "range", min: 0,
      max: last, value, "aria-label": `${label} ${text}`, id: `${name}-${text}`});
    const least = range("at-least", 0), most = range("at-most", last);
    const show = () => {
      const low = sorted[least.value], high = sorted[most.value];
      said.textContent = `${short(low)} to ${short(high)}`;
      for (const bar of [least, most]) {
        bar.setAttribute("aria-valuetext", short(sorted[bar.value]));
      }
      if (+least.value === 0 && +most.value === last) delete state.bounds[name];
      else state.bounds[name] = [low, high];
    };
    least.oninput = () => {
      if (+least.value > +most.value) most.value = least.value;
      show();
      soon();
    };
    most.oninput = () => {
      if (+most.value < +least.value) least.value = most.value;
      show();
      soon();
    };
    least.reset = () => {
      least.value = 0;
      most.value = last;
      show();
    };
    get("sliders").append(element("div", {class: "slider"},
      element("b", {}, label), said,
      element("label", {}, element("span", {}, "at least"), least),
      element("label", {}, element("span", {}, "at most"), most)));
    show();
  }
  get("whole").onclick = () => {
    for (const bar of get("sliders").querySelectorAll("input")) {
      if (bar.reset) bar.reset();
    }
    update();
  };
}
function propertyRadios() {
  for (const {name, label} of data.properties) {
    const radio = element("input", {type: "radio", name: "property",
      value: name, checked: name === state.property && ""});
    radio.onchange = () => {
      state.property = name;
      drawScatter();
    };
    get("properties").append(element("label", {}, radio,
      element("span", {}, label)));
  }
}
function listen() {
  const number = new Map(data.spaces.map((s, k) => [s.name, k]));
  for (const id of ["edf", "curves"]) {
    if (!views[id]) continue;
    const spaceOf = item => {
      let datum = item && item.datum;
      if (datum && Array.isArray(datum.items)) datum = datum.items[0].datum;
      return datum && number.has(datum.space) ? number.get(datum.space) : null;
    };
    for (const kind of ["pointermove", "click"]) {
      views[id].addEventListener(kind, (_, item) => highlight(spaceOf(item)));
    }
    get(id).addEventListener("pointerleave", () => highlight(null));
  }
  views.scatter.addEventListener("click", (_, item) => {
    if (item && item.datum && item.datum.row !== undefined) {
      choose(item.datum.row, true);
    }
  });
}
async function begin() {
  spaceTicks();
  sliders();
  propertyRadios();
  select();
  state.chosen = ranked()[0] ?? null;
  const hasCurves = data.curves.some(curve => curve.length > 1);
  get("learning").hidden = !hasCurves;
  const renderer = trained.length > MANY_POINTS ? "canvas" : "svg";
  await embed("edf", "svg");
  await embed("scatter", renderer);
  if (hasCurves) await embed("curves", "svg");
  get("text").oninput = () => { state.page = 0; drawTable(); };
  get("previous").onclick = () => { state.page--; drawTable(); };
  get("next").onclick = () => { state.page++; drawTable(); };
  get("list").ontoggle = drawTable;
  get("choice").onsubmit = event => event.preventDefault();
  listen();
  update();
  let closed = [];
  window.onbeforeprint = () => {
    closed = [...document.querySelectorAll("details:not([open], #list)")];
    for (const part of closed) part.open = true;
    for (const view of Object.values(views)) view.width(PRINTED).run();
  };
  window.onafterprint = () => {
    for (const part of closed) part.open = false;
    window.dispatchEvent(new Event("resize"));
  };
  document.body.dataset.ready = "yes";
}
begin();
})();
