/** The logins that docker, podman and buildah keep, in the files and with the helpers where they keep them. */
import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";

/** What proves to a registry who asks. */
export type Login = { username: string; password: string } | { identityToken: string };

interface AuthFile {
  auths?: Record<string, { auth?: string; username?: string; password?: string; identitytoken?: string }>;
  credHelpers?: Record<string, string>;
  credsStore?: string;
}

/** Docker Hub's names for itself: images say the first, its address is another, and docker's logins stand under a third. */
const hub = { name: "docker.io", address: "registry-1.docker.io", login: "https://index.docker.io/v1/" };
const hubNames = new Set([hub.name, hub.address, "index.docker.io", "registry.hub.docker.com"]);

/** The host that images and logins of a registry are named after. */
export const registryName = (host: string): string => (hubNames.has(host) ? hub.name : host);

/** The host that a registry is asked at. */
export const registryAddress = (host: string): string => (hubNames.has(host) ? hub.address : host);

/**
 * Every login that is kept for a repository, the most particular of each file first.
 * @param repository `host/path`
 */
export async function loginsFor(repository: string): Promise<Login[]> {
  const logins: Login[] = [];
  for (const path of new Set(authFiles())) {
    const file = readAuthFile(path);
    if (file) logins.push(...(await loginsIn(file, repository)));
  }
  return logins;
}

// The first that exists is what podman and buildah write; docker's is what all of them read too.
function authFiles(): string[] {
  const { REGISTRY_AUTH_FILE, XDG_RUNTIME_DIR, XDG_CONFIG_HOME, DOCKER_CONFIG } = process.env;
  const runtime = XDG_RUNTIME_DIR || `/run/user/${process.getuid?.()}`;
  return [
    ...(REGISTRY_AUTH_FILE
      ? [REGISTRY_AUTH_FILE]
      : [
          join(runtime, "containers/auth.json"),
          // Without a session of one's own.
          `/run/containers/${process.getuid?.()}/auth.json`,
          join(XDG_CONFIG_HOME || join(homedir(), ".config"), "containers/auth.json"),
        ]),
    join(DOCKER_CONFIG || join(homedir(), ".docker"), "config.json"),
  ];
}

function readAuthFile(path: string): AuthFile | undefined {
  try {
    return JSON.parse(readFileSync(path, "utf8")) as AuthFile;
  } catch {
    // Not there, not ours to read, or half written: the others may know.
    return undefined;
  }
}

async function loginsIn(
  { auths = {}, credHelpers = {}, credsStore }: AuthFile,
  repository: string,
): Promise<Login[]> {
  const host = repository.split("/")[0] ?? "";
  const entries = Object.entries(auths)
    .map(([key, entry]) => ({ name: keyName(key), key, entry }))
    .filter(({ name }) => repository === name || repository.startsWith(`${name}/`))
    .sort((a, b) => b.name.length - a.name.length);
  const stored = entries.flatMap(({ entry }) => parseEntry(entry) ?? []);
  const own = Object.entries(credHelpers).find(([key]) => keyName(key) === host);
  const helper = own?.[1] ?? credsStore;
  if (!helper) return stored;
  const servers = [entries[0]?.key, own?.[0], host === hub.name ? hub.login : undefined, host];
  for (const server of new Set(servers)) {
    const login = server === undefined ? undefined : await askHelper(helper, server);
    if (login) return [login, ...stored];
  }
  return stored;
}

/** `https://index.docker.io/v1/` and `quay.io/team` as the beginning of repositories' names. */
function keyName(key: string): string {
  const [host = "", ...path] = key
    .replace(/^https?:\/\//, "")
    .replace(/\/v[12]\/?$/, "")
    .replace(/\/+$/, "")
    .split("/");
  return [registryName(host), ...path].join("/");
}

function parseEntry({
  auth,
  username,
  password,
  identitytoken,
}: NonNullable<AuthFile["auths"]>[string]): Login | undefined {
  if (identitytoken) return { identityToken: identitytoken };
  if (username && password) return { username, password };
  const [, name, secret] = /^([^:]+):(.*)$/s.exec(Buffer.from(auth ?? "", "base64").toString()) ?? [];
  return name && secret ? { username: name, password: secret } : undefined;
}

// A helper that is missing or has nothing to say leaves the registry unasked for a login, and that is what is told.
async function askHelper(helper: string, server: string): Promise<Login | undefined> {
  const { failed, stdout } = await execa(`docker-credential-${helper}`, ["get"], {
    input: server,
    reject: false,
    timeout: 20_000,
  });
  if (failed) return undefined;
  try {
    const { Username, Secret } = JSON.parse(stdout) as { Username?: string; Secret?: string };
    if (!Secret) return undefined;
    if (Username === "<token>") return { identityToken: Secret };
    return Username ? { username: Username, password: Secret } : undefined;
  } catch {
    return undefined;
  }
}
