// Shared by the components of this folder. Text goes into pages by textContent only.

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined && text !== null) made.textContent = text;
  return made;
}

// The address of an image. The board may lie below a path that only the browser knows; pages are
// one level below it. Only names that are hashes are ever asked for.
function imageAddress(file, page) {
  if (!/^[0-9a-f]{64}$/.test(file || "")) return null;
  const path = location.pathname.replace(/\/+$/, "");
  const base = path.endsWith("/" + page) ? path.slice(0, -page.length - 1) : path;
  return `${location.origin}${base}/image/${file}.webp`;
}

// An image with a text for the case that it cannot be loaded; without a file only that text.
function picture(image, page, words) {
  const address = imageAddress(image.file, page);
  if (address === null) return element("span", "nopicture", words.no_file);
  const made = element("img");
  made.loading = "lazy";
  made.decoding = "async";
  made.referrerPolicy = "no-referrer";
  if (image.width && image.height) {
    made.width = image.width;
    made.height = image.height;
  }
  made.alt = image.caption || image.name;
  made.addEventListener(
    "error", () => made.replaceWith(element("span", "nopicture", words.broken)), { once: true },
  );
  made.src = address;
  return made;
}

// Whether a key is meant for a field, a table or a menu, or is part of a shortcut of the browser.
function isTyping(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return true;
  return event.composedPath().some((target) =>
    target instanceof Element && (
      target.matches("input, textarea, select, [contenteditable=''], [contenteditable='true']") ||
      target.matches("[role=grid], [role=listbox], [role=combobox], [role=menu], [role=dialog]") ||
      target.matches("[role=textbox], dialog, canvas, iframe")
    ));
}
