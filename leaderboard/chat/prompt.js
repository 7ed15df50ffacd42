// Requests to a model, word by word, with thumbnails where it got images.

export default function ({ parentElement, data }) {
  const root = parentElement.querySelector(".ffr-prompt");
  if (root.shown === data) return;
  root.shown = data;
  root.replaceChildren(...data.requests.map((request) => drawRequest(request, data)));
}

function drawRequest(request, data) {
  const made = element("section", "request");
  if (request.title) made.append(element("h4", null, request.title));
  for (const message of request.messages) {
    const box = element("div", "message");
    box.append(element("div", "role", message.role));
    const body = element("div", "body");
    body.tabIndex = 0;
    body.setAttribute("role", "region");
    body.setAttribute("aria-label", message.role);
    for (const part of message.parts) {
      if (part.name === undefined) {
        body.append(element("span", "words", part.text));
        continue;
      }
      const image = element("span", "image");
      image.append(element("span", "name", part.name));
      if (part.file) image.append(picture(part, data.page, data.words));
      body.append(image);
    }
    box.append(body);
    made.append(box);
  }
  if (request.schema) {
    const box = element("div", "message");
    box.append(element("div", "role", data.words.schema), element("div", "body", request.schema));
    made.append(box);
  }
  return made;
}
