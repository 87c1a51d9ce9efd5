/** Alertmanager's API, through the server that this page is from. */
import type { Alert, Silence } from "./silence.ts";

const api = "/alertmanager/api/v2";

async function ask(path: string, init: RequestInit = {}): Promise<Response> {
  // What the browser knows of passwords stays out of it: it would send them for other pages too.
  const response = await fetch(api + path, { ...init, credentials: "omit", cache: "no-store" });
  if (response.ok) return response;
  if (response.status === 401) throw new Error("The password is not right.");
  const text = await response.text();
  // Alertmanager answers with a JSON string, nginx with a page.
  const said = /^[{"]/.test(text) ? text.replace(/^"|"\s*$/g, "") : response.statusText;
  throw new Error(`Alertmanager answered ${response.status}: ${said}`);
}

/** All alerts that it holds. */
export const alerts = async (): Promise<Alert[]> => (await ask("/alerts")).json();

/** The silences that hold, or will. */
export async function silences(): Promise<Silence[]> {
  const all = (await (await ask("/silences")).json()) as Silence[];
  return all.filter(({ status }) => status.state !== "expired");
}

const signedIn = (password: string): HeadersInit => ({
  authorization: `Basic ${btoa(`admin:${password}`)}`,
  "content-type": "application/json",
});

/** Makes a silence. Rejects with what Alertmanager says where it does not take it. */
export async function create(silence: object, password: string): Promise<void> {
  await ask("/silences", { method: "POST", headers: signedIn(password), body: JSON.stringify(silence) });
}

/** Ends a silence before its time. */
export async function end(id: string, password: string): Promise<void> {
  await ask(`/silence/${encodeURIComponent(id)}`, { method: "DELETE", headers: signedIn(password) });
}
