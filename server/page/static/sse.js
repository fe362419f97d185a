/* Server-sent events of a fetched answer (WHATWG HTML). EventSource sends no key, takes no POST and hides comments. */

/** Yield each block of a stream: {comment} for a comment, {event, id, data} for an event. */
export async function* blocks(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const {done, value} = await reader.read();
      if (done) return;
      const pieces = (rest + value).split("\n\n");
      rest = pieces.pop();
      for (const piece of pieces) yield* parsed(piece);
    }
  } finally {
    reader.cancel().catch(() => {});  // the connection may be gone already
  }
}

function* parsed(piece) {
  const block = {event: "message", id: null, data: null};
  for (const line of piece.split("\n")) {
    const at = line.indexOf(":");
    const name = line.slice(0, at), value = line.slice(at + 1).replace(/^ /, "");
    if (at === 0) yield {comment: value};
    else if (name === "data") block.data = block.data === null ? value : `${block.data}\n${value}`;
    else if (name === "event" || name === "id") block[name] = value;
  }
  if (block.data !== null) yield block;
}
