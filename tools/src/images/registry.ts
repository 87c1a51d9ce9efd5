/** Asking a registry for an image's digest: the OCI distribution API, with the token that it asks for. */
import { createHash } from "node:crypto";
import { Failure } from "../failure.ts";
import { parseImage } from "./names.ts";

const manifestTypes = [
  // Lists first: their digest stands for the image on every architecture.
  "application/vnd.oci.image.index.v1+json",
  "application/vnd.docker.distribution.manifest.list.v2+json",
  "application/vnd.oci.image.manifest.v1+json",
  "application/vnd.docker.distribution.manifest.v2+json",
].join(", ");

/** Where an image's manifest is asked for. */
export function manifestURL(image: string): string {
  const { name, tag = "latest", digest } = parseImage(image);
  const slash = name.indexOf("/");
  const host = name.slice(0, slash);
  const path = name.slice(slash + 1);
  const plain = /^(localhost|127\.0\.0\.1|\[::1\])(:|$)/.test(host);
  // Docker Hub's name is not its address.
  const address = host === "docker.io" ? "registry-1.docker.io" : host;
  return `${plain ? "http" : "https"}://${address}/v2/${path}/manifests/${digest ?? tag}`;
}

/**
 * The digest that an image's tag means now.
 * @param image with its registry
 * @throws Failure where the registry does not say
 */
export async function resolveDigest(image: string): Promise<string> {
  const { digest } = parseImage(image);
  if (digest) return digest;
  const url = manifestURL(image);
  let answer = await ask(url, image, "HEAD");
  let token: string | undefined;
  if (answer.status === 401) {
    token = await fetchToken(answer.headers.get("www-authenticate") ?? "", image);
    answer = await ask(url, image, "HEAD", token);
  }
  if (!answer.ok) throw new Failure(`${image}: ${new URL(url).host} answered ${answer.status}`);
  const said = answer.headers.get("docker-content-digest");
  if (said) return said;
  // The header is optional; the digest is that of the manifest's bytes.
  const whole = await ask(url, image, "GET", token);
  if (!whole.ok) throw new Failure(`${image}: ${new URL(url).host} answered ${whole.status}`);
  const bytes = Buffer.from(await whole.arrayBuffer());
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

async function ask(url: string, image: string, method: string, token?: string): Promise<Response> {
  const headers = { accept: manifestTypes, ...(token && { authorization: `Bearer ${token}` }) };
  return fetch(url, { method, headers, signal: AbortSignal.timeout(20_000) }).catch((error: Error) => {
    const { cause } = error as Error & { cause?: Error };
    throw new Failure(`${image}: ${new URL(url).host} does not answer: ${cause?.message || error.message}`);
  });
}

/** What a registry asks for: `Bearer realm="…",service="…",scope="…"`. */
export function parseChallenge(header: string): Record<string, string> {
  return Object.fromEntries([...header.matchAll(/(\w+)="([^"]*)"/g)].map(([, key, value]) => [key, value]));
}

async function fetchToken(header: string, image: string): Promise<string> {
  const { realm, ...parameters } = parseChallenge(header);
  if (!realm)
    throw new Failure(`${image}: the registry wants a login of a kind that is not known: ${header}`);
  const url = new URL(realm);
  for (const [key, value] of Object.entries(parameters)) url.searchParams.set(key, value);
  const response = await fetch(url, { signal: AbortSignal.timeout(20_000) });
  if (!response.ok) throw new Failure(`${image}: ${url.host} answered ${response.status}`);
  const { token, access_token } = (await response.json()) as { token?: string; access_token?: string };
  return token ?? access_token ?? "";
}
