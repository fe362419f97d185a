/* The one door to the server: every request goes through `ask`. Owns the API key, which stays in sessionStorage, and
   the news that the server was reached ("here"), was not ("gone") or wants a key ("key"). */

export const news = new EventTarget();

/** The server answered with an error. `code` is its own word for it. */
export class ServerError extends Error {
  constructor(status, message, code) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** Nobody answered. */
export class GoneError extends Error {
  constructor() { super("The server does not answer."); }
}

export const key = {
  get value() { return sessionStorage.getItem("key") ?? ""; },
  set value(text) {
    if (text) sessionStorage.setItem("key", text); else sessionStorage.removeItem("key");
  },
};

/** Return the response of a request; `body` is sent as JSON. Throws ServerError, GoneError, or AbortError. */
export async function ask(path, {method = "GET", body, headers = {}, signal} = {}) {
  const sent = {...headers};
  if (method !== "GET") sent["content-type"] = "application/json";
  if (key.value) sent.authorization = `Bearer ${key.value}`;
  let response;
  try {
    response = await fetch(path, {method, headers: sent, body: body && JSON.stringify(body), signal, cache: "no-store"});
  } catch (error) {
    throw lost(error);
  }
  if (response.ok) return response;
  const error = await errorOf(response);
  if (error.status === 401) tell("key");
  throw error;
}

/** Return what a broken connection means: the user's own stop stays what it is, all else is a server that is gone. */
export function lost(error) {
  if (error.name === "AbortError") return error;
  tell("gone");
  return new GoneError();
}

export function tell(what) { news.dispatchEvent(new Event(what)); }

async function errorOf(response) {
  const text = await response.text();
  try {
    const {error} = JSON.parse(text);
    return new ServerError(response.status, error.message, error.code);
  } catch {
    return new ServerError(response.status, text || `The server answered ${response.status}.`, null);  // a proxy's own page
  }
}
