// The whole view is in the address: what is shown can be sent, reloaded, and gone back from.

const listeners = new Set();
const MANY = new Set(["flip", "verdict", "status", "relation", "object", "tag", "kept", "filter", "witnesses"]);

export const params = () => new URLSearchParams(location.search);
export const get = (name, otherwise = "") => params().get(name) ?? otherwise;
export const all = (name) => params().getAll(name);
export const isMany = (name) => MANY.has(name);

// Set some names (null removes); `push` makes a step that the back button undoes.
export function set(changes, push = true) {
  const next = params();
  for (const [name, value] of Object.entries(changes)) {
    next.delete(name);
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== null && one !== undefined && one !== "") next.append(name, one);
    }
  }
  if (next.toString() === params().toString()) return;
  const address = next.size ? `?${next}` : location.pathname;
  history[push ? "pushState" : "replaceState"](null, "", address);
  tell();
}

export function toggle(name, member) {
  const there = all(name);
  set({ [name]: there.includes(member) ? there.filter((one) => one !== member) : [...there, member], at: null });
}

export const onChange = (listener) => listeners.add(listener);
export const tell = () => listeners.forEach((listener) => listener());
addEventListener("popstate", tell);

// The part of the address that the server answers to.
export function question(extra = {}) {
  const asked = params();
  for (const name of ["view", "at", "open", "side", "annotator"]) asked.delete(name);
  if (get("view") === "compare" && !asked.has("sort")) asked.set("sort", "flips");
  for (const [name, value] of Object.entries(extra)) asked.set(name, value);
  return asked.toString();
}

export async function ask(path, extra = {}, options = {}) {
  return fetchJson(`/api/${path}?${question(extra)}`, options);
}

export async function fetchJson(address, options = {}) {
  const reply = await fetch(address, options);
  const content = await reply.json().catch(() => ({ error: `${reply.status} ${reply.statusText}` }));
  if (!reply.ok) throw new Error(content.error ?? `${reply.status}`);
  return content;
}

// A small memory of this browser: boxes on or off, the theme.
export const keep = {
  get: (name, otherwise) => { try { return localStorage.getItem(`t2i-spatial.${name}`) ?? otherwise; } catch { return otherwise; } },
  set: (name, value) => { try { localStorage.setItem(`t2i-spatial.${name}`, value); } catch { /* private window */ } },
};
