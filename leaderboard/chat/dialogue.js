// A dialogue as a chat, with gold and the answers of up to two models beside every turn and image.

const GLYPHS = { gold: "★", tp: "✓", fp: "✗", fn: "○" };
const SHOWN_INVENTED = 60;

export default function ({ parentElement, data }) {
  const root = parentElement.querySelector(".ffr-dialogue");
  if (root.shown !== data) {
    root.stop?.();
    const stopped = new AbortController();
    root.stop = () => stopped.abort();
    root.shown = data;
    root.replaceChildren();
    draw(root, data, stopped.signal);
  }
  // Streamlit may end an earlier call of this after a later one began: only the last one counts.
  const turn = root.turn = {};
  return () => {
    if (root.turn !== turn) return;
    root.stop?.();
    root.shown = undefined;
  };
}

function draw(root, data, signal) {
  const { words } = data;
  const large = enlarger(words, signal);
  root.style.setProperty("--columns", data.columns.length);
  root.append(...invented(data));
  const box = element("div", "box");
  box.tabIndex = 0;
  box.setAttribute("role", "region");
  box.setAttribute("aria-label", words.dialogue);
  box.append(header(data));
  const list = element("ol", "turns");
  list.setAttribute("role", "list");
  const turns = data.turns.map((turn) => drawTurn(turn, data, large));
  list.append(...turns);
  if (data.loose.length) list.append(drawLoose(data, large));
  box.append(list);
  root.append(legend(data), toolbar(data, box, turns, signal), box, large.dialog);
}

function drawTurn(turn, data, large) {
  const { words } = data;
  const item = element("li", `turn voice${turn.voice}${turn.right ? " right" : ""}`);
  item.tabIndex = -1;
  item.dataset.utt = turn.id;
  if (turn.gold) item.classList.add("gold");
  const said = element("div", "said");
  const head = element("div", "head");
  head.append(element("bdi", "who", turn.who), element("span", "id", `${words.utt} ${turn.id}`));
  if (turn.time) head.append(element("bdi", "time", turn.time));
  said.append(head);
  if (turn.text) {
    const text = element("div", "text", turn.text);
    text.dir = "auto";
    said.append(text);
  }
  item.append(said, cells(turn, data));
  for (const id of turn.images) item.append(...drawImage(data.images[id], data, large));
  return item;
}

function drawImage(image, data, large) {
  const figure = element("figure", "picture");
  if (image.gold) figure.classList.add("gold");
  const shown = picture(image, data.page, data.words);
  if (image.file) {
    const button = element("button", "enlarge");
    button.type = "button";
    button.setAttribute("aria-label", `${data.words.enlarge}: ${image.name}`);
    button.append(shown);
    button.addEventListener("click", () => large.open(image, button, data.page));
    figure.append(button);
  } else {
    figure.append(shown);
  }
  const caption = element("figcaption", null);
  caption.append(element("span", "id", image.name));
  if (image.caption) {
    const text = element("span", "caption", image.caption);
    text.dir = "auto";
    caption.append(text);
  }
  figure.append(caption);
  return [figure, cells(image, data)];
}

function drawLoose(data, large) {
  const item = element("li", "turn");
  item.append(element("div", "said", data.words.loose), element("div"));
  for (const id of data.loose) item.append(...drawImage(data.images[id], data, large));
  return item;
}

// Gold and the answers beside a turn or an image; empty cells keep the columns apart.
function cells(of, data) {
  const made = element("div", "cells");
  data.columns.forEach((column, place) => {
    const kind = of.marks[place];
    const cell = element("span", "cell");
    if (kind) {
      const mark = element("span", `mark ${kind}`);
      const glyph = element("span", "glyph", GLYPHS[kind]);
      glyph.setAttribute("aria-hidden", "true");
      // On narrow screens the columns' names stand in the marks.
      if (kind !== "gold") mark.append(element("span", "of", `${column.name}: `));
      mark.append(glyph, element("span", "word", data.words[kind]));
      mark.title = `${column.label}: ${data.words[`${kind}_help`]}`;
      cell.append(mark);
    }
    made.append(cell);
  });
  return made;
}

function header(data) {
  const made = element("div", "header");
  made.setAttribute("aria-hidden", "true");
  made.append(element("span"));
  const names = element("div", "cells");
  for (const column of data.columns) {
    const name = element("span", "cell name", column.name);
    name.title = column.label;
    names.append(name);
  }
  made.append(names);
  return made;
}

function legend(data) {
  const made = element("div", "legend");
  for (const kind of data.legend) {
    const entry = element("span", "entry");
    const mark = element("span", `mark ${kind}`);
    const glyph = element("span", "glyph", GLYPHS[kind]);
    glyph.setAttribute("aria-hidden", "true");
    mark.append(glyph, element("span", "word", data.words[kind]));
    entry.append(mark, element("span", "help", data.words[`${kind}_help`]));
    made.append(entry);
  }
  for (const column of data.columns.slice(data.legend.includes("gold") ? 1 : 0)) {
    const entry = element("span", "entry");
    entry.append(element("strong", null, column.name), element("bdi", "help", column.label));
    made.append(entry);
  }
  return made;
}

function invented(data) {
  return data.invented.map((of) => {
    const made = element("div", "invented");
    made.setAttribute("role", "note");
    made.append(element("strong", null, `${of.name}: ${data.words.invented} `));
    const parts = [[data.words.utts, of.utts], [data.words.imgs, of.imgs]]
      .filter(([, ids]) => ids.length)
      .map(([what, ids]) => {
        const more = ids.length > SHOWN_INVENTED ? ` … (${ids.length})` : "";
        return `${what} ${ids.slice(0, SHOWN_INVENTED).join(", ")}${more}`;
      });
    made.append(element("span", null, parts.join("; ")));
    return made;
  });
}

// Buttons and keys that go from one marked turn to the next.
function toolbar(data, box, turns, signal) {
  const { words, marked } = data;
  const made = element("div", "toolbar");
  if (!marked.length) {
    made.append(element("span", "count", words.no_marks));
    requestAnimationFrame(() => { box.scrollTop = 0; });
    return made;
  }
  const count = element("span", "count");
  count.setAttribute("aria-live", "polite");
  let at = Math.max(marked.indexOf(data.open), 0);
  let scrolled = false;

  const show = (place, focus) => {
    at = place;
    scrolled = false;
    for (const turn of turns) turn.classList.remove("current");
    const turn = turns[marked[at]];
    turn.classList.add("current");
    count.textContent = words.count.replace("%1", at + 1).replace("%2", marked.length);
    bringToTop(box, turn);
    if (focus) turn.focus({ preventScroll: true });
  };
  const step = (by, focus) => {
    let place = at + by;
    if (scrolled) {
      const line = box.getBoundingClientRect().top;
      const seen = turns.findIndex((turn) => turn.getBoundingClientRect().bottom > line + 60);
      const after = marked.findIndex((turn) => turn > seen);
      const from = after < 0 ? marked.length : after;
      place = by > 0 ? from : marked.findLastIndex((turn) => turn < seen);
    }
    show(Math.min(Math.max(place, 0), marked.length - 1), focus);
  };
  const button = (label, key, by) => {
    const made = element("button", "step");
    made.type = "button";
    made.setAttribute("aria-keyshortcuts", key);
    made.append(element("span", null, label), element("kbd", null, key));
    made.addEventListener("click", () => step(by, false));
    return made;
  };
  made.append(button(words.previous, "k", -1), count, button(words.next, "j", 1));
  for (const kind of ["wheel", "touchmove", "pointerdown"]) {
    box.addEventListener(kind, () => { scrolled = true; }, { passive: true, signal });
  }
  box.addEventListener("keydown", (event) => {
    const keys = ["ArrowUp", "ArrowDown", "PageUp", "PageDown", "Home", "End", " "];
    if (keys.includes(event.key)) scrolled = true;
  }, { signal });
  document.addEventListener("keydown", (event) => {
    if (event.shiftKey || isTyping(event) || !box.isConnected) return;
    const by = { j: 1, k: -1 }[event.key];
    if (by === undefined) return;
    event.preventDefault();
    step(by, true);
  }, { signal });
  requestAnimationFrame(() => show(at, false));
  return made;
}

// Turns outside the view have estimated heights until they are near it, so it takes a few frames.
function bringToTop(box, turn) {
  let frames = 0;
  const go = () => {
    const header = box.querySelector(".header").getBoundingClientRect().height;
    const top = turn.getBoundingClientRect().top - box.getBoundingClientRect().top;
    box.scrollTop += top - header - 12;
    frames += 1;
    if (frames < 6) requestAnimationFrame(go);
  };
  go();
}

function enlarger(words, signal) {
  const dialog = element("dialog", "large");
  const close = element("button", "close", "✕");
  close.type = "button";
  close.setAttribute("aria-label", words.close);
  let opener = null;
  close.addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  dialog.addEventListener("close", () => opener?.focus({ preventScroll: true }));
  signal.addEventListener("abort", () => dialog.close());
  const open = (image, from, page) => {
    opener = from;
    const caption = element("p", "caption", image.caption || image.name);
    caption.dir = "auto";
    dialog.replaceChildren(close, picture(image, page, words), caption);
    dialog.setAttribute("aria-label", image.name);
    dialog.showModal();
  };
  return { dialog, open };
}
