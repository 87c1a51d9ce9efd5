/** Asks a registry for an image by the OCI distribution API, with the login or the token that it wants. */
import { createHash } from "node:crypto";
import { Failure } from "../failure.ts";
import { fetchThroughProxy } from "../proxy.ts";
import { loginCommand } from "./builder.ts";
import { type Login, loginsFor, registryAddress, registryName } from "./logins.ts";
import { parseImage } from "./names.ts";

const manifestTypes = [
  // Lists first: their digest stands for the image on every architecture.
  "application/vnd.oci.image.index.v1+json",
  "application/vnd.docker.distribution.manifest.list.v2+json",
  "application/vnd.oci.image.manifest.v1+json",
  "application/vnd.docker.distribution.manifest.v2+json",
].join(", ");

/**
 * What a registry answers for an image. "It has none" is an answer. A refused login, an error or a registry that cannot be
 * reached is not, and says nothing about the image.
 */
export type Answer =
  | { state: "there"; digest: string | undefined }
  | { state: "absent" }
  | { state: "unsaid"; why: string; needsLogin: boolean };

export interface AskOptions {
  /** Whether the registry speaks plain HTTP; by default it does if it is on this machine. */
  insecure?: boolean;
  /** True if the digest is wanted, even from a registry that gives it only with the whole manifest. */
  withDigest?: boolean;
}

interface Place {
  url: URL;
  /** `host/path`, as logins are kept for it. */
  repository: string;
  path: string;
}

/** @throws Failure if that is not an image's name */
function placeOf(image: string, insecure?: boolean): Place {
  const { name, tag = "latest", digest } = parseImage(image);
  const [first = "", ...others] = name.split("/");
  // As docker reads names: without a host they are Docker Hub's.
  const hasHost = others.length > 0 && (/[.:]/.test(first) || first === "localhost");
  const host = registryName(hasHost ? first : "docker.io");
  const rest = hasHost ? others.join("/") : name;
  // Docker Hub's own images have a namespace that their short names leave out.
  const path = host === "docker.io" && !rest.includes("/") ? `library/${rest}` : rest;
  const plain = insecure ?? isLocal(host);
  const address = `${plain ? "http" : "https"}://${registryAddress(host)}`;
  const manifest = `${address}/v2/${path}/manifests/${digest ?? tag}`;
  if (!URL.canParse(manifest)) throw new Failure(`${image} is not the name of an image`);
  return {
    url: new URL(manifest),
    repository: `${host}/${path}`,
    path,
  };
}

/** True for a registry on this machine. Docker and similar tools assume that it has no certificate. */
export const isLocal = (host: string): boolean => /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:|$)/.test(host);

/** Where an image's manifest is asked for. */
export const manifestURL = (image: string): string => placeOf(image).url.href;

/**
 * Asks a registry whether it has an image.
 * @param image with its registry
 */
export async function lookUp(image: string, { insecure, withDigest }: AskOptions = {}): Promise<Answer> {
  const place = placeOf(image, insecure);
  try {
    const { answer, authorization } = await askWithLogins(place);
    if (answer.status === 404) return { state: "absent" };
    if (!answer.ok) return unsaid(place, answer);
    // This is the page of a portal or a login in between, which answers 200 to everything.
    if (isPage(answer))
      throw new Silence(`${place.url.host} answered with a page, not with a manifest`, true);
    const said = answer.headers.get("docker-content-digest") ?? undefined;
    if (said || !withDigest) return { state: "there", digest: said };
    // The header is optional; the digest is that of the manifest's bytes.
    const whole = await ask(place.url, "GET", authorization);
    if (!whole.ok) return unsaid(place, whole);
    const bytes = Buffer.from(await whole.arrayBuffer());
    return { state: "there", digest: `sha256:${createHash("sha256").update(bytes).digest("hex")}` };
  } catch (error) {
    if (error instanceof Silence)
      return { state: "unsaid", why: error.message, needsLogin: error.needsLogin };
    throw error;
  }
}

/**
 * The digest that an image's tag means now.
 * @param image with its registry
 * @throws Failure if the registry does not say, or has no such image
 */
export async function resolveDigest(image: string): Promise<string> {
  const { digest } = parseImage(image);
  if (digest) return digest;
  const answer = await lookUp(image, { withDigest: true });
  if (answer.state === "there" && answer.digest) return answer.digest;
  const host = placeOf(image).url.host;
  if (answer.state !== "unsaid") throw new Failure(`${image}: ${host} answered 404`);
  throw new Failure(
    `${image}: ${answer.why}`,
    answer.needsLogin ? await loginCommand(host, isLocal(host)) : undefined,
  );
}

/** A registry, or the token server that it named, gave no answer. */
class Silence extends Error {
  readonly needsLogin: boolean;
  constructor(message: string, needsLogin = false) {
    super(message);
    this.needsLogin = needsLogin;
  }
}

const refuses = (status: number): boolean => status === 401 || status === 403;

function unsaid({ url }: Place, { status }: Response): Answer {
  return { state: "unsaid", why: `${url.host} answered ${status}`, needsLogin: refuses(status) };
}

/** Asks without a login, then with each known login, and last with the token that everybody gets. */
async function askWithLogins(place: Place): Promise<{ answer: Response; authorization?: string }> {
  let answer = await ask(place.url, "HEAD");
  if (answer.status !== 401) return { answer };
  const challenge = answer.headers.get("www-authenticate") ?? "";
  let silence: Silence | undefined;
  for (const login of [...(await loginsFor(place.repository)), undefined]) {
    try {
      const authorization = await authorize(challenge, place, login);
      if (authorization === undefined) continue;
      answer = await ask(place.url, "HEAD", authorization);
      if (!refuses(answer.status)) return { answer, authorization };
    } catch (error) {
      if (!(error instanceof Silence) || !error.needsLogin) throw error;
      silence ??= error;
    }
  }
  if (silence) throw silence;
  return { answer };
}

async function ask(url: URL, method: string, authorization?: string): Promise<Response> {
  const headers = { accept: manifestTypes, ...(authorization && { authorization }) };
  const answer = await send(url, { method, headers });
  // Some proxies of registries let only whole manifests through.
  return method === "HEAD" && [405, 501].includes(answer.status) ? send(url, { headers }) : answer;
}

const isPage = ({ headers }: Response): boolean => /^text\/html\b/.test(headers.get("content-type") ?? "");

async function send(url: URL, request: RequestInit): Promise<Response> {
  // Builders push to this machine without a proxy, so this asks without one, too.
  const reach = isLocal(url.host) ? fetch : fetchThroughProxy;
  return reach(url.href, { ...request, signal: AbortSignal.timeout(20_000) }).catch((error: Error) => {
    const { cause } = error as Error & { cause?: Error };
    throw new Silence(`${url.host} does not answer: ${cause?.message || error.message}`);
  });
}

/** What a registry asks for in one scheme, as in `Bearer realm="…",scope="…"`; undefined if it does not take that. */
export function parseChallenge(header: string, scheme = "Bearer"): Record<string, string> | undefined {
  // Several challenges may stand in one header, and each begins with a word that no equals sign follows.
  const found = new RegExp(
    `(?:^|,)\\s*${scheme}(?:\\s+((?:[\\w-]+=(?:"[^"]*"|[^\\s,"]+)[\\s,]*)*)|\\s*(?:,|$))`,
    "i",
  ).exec(header);
  if (!found) return undefined;
  const parameters = [...(found[1] ?? "").matchAll(/([\w-]+)=(?:"([^"]*)"|([^\s,"]+))/g)];
  return Object.fromEntries(
    parameters.map(([, key, quoted, bare]) => [key?.toLowerCase(), quoted ?? bare ?? ""]),
  );
}

/** The header that a challenge asks for; undefined if this login, or none, cannot meet it. */
async function authorize(
  challenge: string,
  place: Place,
  login: Login | undefined,
): Promise<string | undefined> {
  const token = parseChallenge(challenge, "Bearer");
  if (token?.realm) return `Bearer ${await fetchToken(token, place, login)}`;
  if (!parseChallenge(challenge, "Basic"))
    throw new Silence(`${place.url.host} wants a login of a kind that is not known: ${challenge}`);
  return login && "username" in login ? basic(login) : undefined;
}

const basic = ({ username, password }: { username: string; password: string }): string =>
  `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`;

async function fetchToken(
  { realm = "", service, scope }: Record<string, string>,
  place: Place,
  login: Login | undefined,
): Promise<string> {
  if (!URL.canParse(realm, place.url))
    throw new Silence(`${place.url.host} names ${realm} as the place for a token, which is not a URL`);
  const url = new URL(realm, place.url);
  // A password that a registry got over TLS does not leave it.
  const known = place.url.protocol === "https:" && url.protocol !== "https:" ? undefined : login;
  const wanted = { ...(service && { service }), scope: scope ?? `repository:${place.path}:pull` };
  let request: RequestInit = {};
  if (known && "identityToken" in known) {
    const refresh = { grant_type: "refresh_token", refresh_token: known.identityToken, client_id: "gitops" };
    request = { method: "POST", body: new URLSearchParams({ ...wanted, ...refresh }) };
  } else {
    for (const [key, value] of Object.entries(wanted)) url.searchParams.set(key, value);
    if (known) request = { headers: { authorization: basic(known) } };
  }
  const response = await send(url, request);
  if (!response.ok) {
    const who = known && "username" in known ? ` to the login of ${known.username}` : "";
    throw new Silence(`${url.host} answered ${response.status}${who}`, refuses(response.status));
  }
  const said = (await response.json().catch(() => ({}))) as { token?: string; access_token?: string };
  const granted = said.token || said.access_token;
  if (!granted) throw new Silence(`${url.host} gives no token`, true);
  return granted;
}
