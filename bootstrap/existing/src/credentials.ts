/** What Argo CD reads a private repository with: from a file or the environment into a Secret, and nowhere else. */
import { createHash } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { Failure } from "../../../lib/failure.ts";
import { quoted } from "../../../lib/quoted.ts";
import { find, secretObject } from "../../src/kubectl.ts";
import type { Target } from "./target.ts";

/** The fields of Argo CD's repository Secret beside type and URL. */
export type Credentials = { username: string; password: string } | { sshPrivateKey: string };

const label = "argocd.argoproj.io/secret-type";

/**
 * The credentials that the command line's file or the environment's GIT_USERNAME and GIT_PASSWORD hold, if any.
 * @throws Failure where they are incomplete, or a file that others may read
 */
export function readCredentials(
  { credentials, repository }: Pick<Target, "credentials" | "repository">,
  environment: Record<string, string | undefined> = process.env,
): Credentials | undefined {
  const { GIT_USERNAME: username = "", GIT_PASSWORD: password = "" } = environment;
  const found = credentials
    ? parseCredentials(readPrivate(credentials), credentials)
    : password
      ? // Hosts that take a token take any name with it.
        { username: username || "git", password }
      : undefined;
  if (found && isSsh(repository) !== "sshPrivateKey" in found) {
    const [has, wants] = isSsh(repository)
      ? ["a password", "an SSH key"]
      : ["an SSH key", "a user name and a password"];
    throw new Failure(
      `${repository} is read with ${wants}, but what was given is ${has}`,
      "--repo with the other URL, or --repo-credentials with the other file",
    );
  }
  return found;
}

function readPrivate(file: string): string {
  try {
    if ((statSync(file).mode & 0o077) !== 0)
      throw new Failure(`${file} holds credentials and others may read it`, `chmod 600 ${quoted(file)}`);
    return readFileSync(file, "utf8");
  } catch (error) {
    if (error instanceof Failure) throw error;
    throw new Failure(`${file} cannot be read: ${(error as Error).message}`, `ls -l ${quoted(file)}`);
  }
}

/** Reads an SSH key, `username=` and `password=` lines as `git credential fill` writes them, or a URL that holds both. */
export function parseCredentials(text: string, file: string): Credentials {
  if (/^-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(text)) return { sshPrivateKey: text };
  const fields = Object.fromEntries(
    text.split(/\r?\n/).flatMap((line) => {
      const [, key, value] = /^(username|password)=(.*)$/.exec(line) ?? [];
      return key ? [[key, value]] : [];
    }),
  );
  const line = text.trim().split(/\r?\n/)[0] ?? "";
  if (/^https?:\/\/[^@/]+:[^@/]+@/.test(line)) {
    const { username, password } = new URL(line);
    return { username: decodeURIComponent(username), password: decodeURIComponent(password) };
  }
  if (fields.password) return { username: fields.username || "git", password: fields.password };
  throw new Failure(
    `${file} is neither an SSH key nor lines username=… and password=…`,
    'printf "username=%s\\npassword=%s\\n" NAME TOKEN > FILE; chmod 600 FILE',
  );
}

/** The host and port of a repository that is reached by SSH: `ssh://…`, and `[user@]host:path` as Git reads it. */
export function sshAddress(repository: string): { host: string; port: string } | undefined {
  const [, host, port = "22"] =
    /^(?:ssh|git\+ssh|ssh\+git):\/\/(?:[^@/]*@)?(\[[^\]/]+\]|[^:/]+)(?::(\d+))?(?:\/|$)/i.exec(repository) ??
    // A host with a port stands in brackets; a path before the colon means a file.
    /^\[(?:[^@/\]]*@)?([^:/\]]+):(\d+)\]:/.exec(repository) ??
    /^(?:[^@/]*@)?(\[[^\]/]+\]|[^:/@[\]]+):(?!\/\/)/.exec(repository) ??
    [];
  return host === undefined ? undefined : { host, port };
}

/** True for a repository that is reached by SSH. */
export const isSsh = (repository: string): boolean => sshAddress(repository) !== undefined;

/** The Secret that tells Argo CD the credentials; one per repository, so that another keeps its own. */
export function repositorySecret(repository: string, credentials: Credentials): string {
  return secretObject(
    {
      namespace: "argocd",
      name: `repo-${createHash("sha256").update(repository).digest("hex").slice(0, 10)}`,
      labels: { [label]: "repository", "app.kubernetes.io/part-of": "platform" },
    },
    { type: "git", url: repository, ...credentials },
  );
}

/** True where Argo CD has credentials for a repository already, whoever gave them. */
export async function hasSecret(repository: string): Promise<boolean> {
  const found = await find<{ items: { data?: { url?: string } }[] }>([
    "secrets",
    "-n",
    "argocd",
    "-l",
    `${label} in (repository, repo-creds)`,
  ]);
  return (found?.items ?? []).some(({ data }) =>
    repository.startsWith(Buffer.from(data?.url ?? "-", "base64").toString()),
  );
}
