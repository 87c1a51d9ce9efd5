/** Credentials with which Argo CD reads a private repository. They go from a file or the environment into a Secret only. */
import { createHash } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { Failure } from "../../../lib/failure.ts";
import { quoted } from "../../../lib/quoted.ts";
import { find, secretObject } from "../../src/kubectl.ts";
import type { Target } from "./target.ts";

/** The fields of Argo CD's repository Secret besides type and URL. */
export type Credentials = { username: string; password: string } | { sshPrivateKey: string };

const label = "argocd.argoproj.io/secret-type";

/**
 * The credentials in the file that the command line names, or in GIT_USERNAME and GIT_PASSWORD, if any.
 * @throws Failure if they are incomplete, of the wrong kind, or in a file that others may read
 */
export function readCredentials(
  { credentials, repository }: Pick<Target, "credentials" | "repository">,
  environment: Record<string, string | undefined> = process.env,
): Credentials | undefined {
  const { GIT_USERNAME: username = "", GIT_PASSWORD: password = "" } = environment;
  const found = credentials
    ? parseCredentials(readPrivate(credentials), credentials)
    : password
      ? // Hosts that accept a token accept any name with it.
        { username: username || "git", password }
      : undefined;
  if (found && isSsh(repository) !== "sshPrivateKey" in found) {
    const [has, wants] = isSsh(repository)
      ? ["a password", "an SSH key"]
      : ["an SSH key", "a user name and a password"];
    throw new Failure(
      `${repository} needs ${wants}, but ${has} was given`,
      "give --repo the other URL, or --repo-credentials the other file",
    );
  }
  return found;
}

function readPrivate(file: string): string {
  try {
    if ((statSync(file).mode & 0o077) !== 0)
      throw new Failure(
        `${file} holds credentials, but other users may read it`,
        `chmod 600 ${quoted(file)}`,
      );
    return readFileSync(file, "utf8");
  } catch (error) {
    if (error instanceof Failure) throw error;
    throw new Failure(`${file} cannot be read: ${(error as Error).message}`, `ls -l ${quoted(file)}`);
  }
}

/** Parses an SSH key, lines `username=` and `password=` as `git credential fill` writes them, or a URL with both. */
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

/** The host and port of a repository with an SSH address: `ssh://…`, or `[user@]host:path` as Git reads it. */
export function sshAddress(repository: string): { host: string; port: string } | undefined {
  const [, host, port = "22"] =
    /^(?:ssh|git\+ssh|ssh\+git):\/\/(?:[^@/]*@)?(\[[^\]/]+\]|[^:/]+)(?::(\d+))?(?:\/|$)/i.exec(repository) ??
    // A host with a port is in brackets. A path before the colon means a file.
    /^\[(?:[^@/\]]*@)?([^:/\]]+):(\d+)\]:/.exec(repository) ??
    /^(?:[^@/]*@)?(\[[^\]/]+\]|[^:/@[\]]+):(?!\/\/)/.exec(repository) ??
    [];
  return host === undefined ? undefined : { host, port };
}

/** True for a repository that is reached by SSH. */
export const isSsh = (repository: string): boolean => sshAddress(repository) !== undefined;

/** The Secret with the credentials for Argo CD. Each repository has its own, so that others keep theirs. */
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

/** True if Argo CD already has credentials for a repository, from whatever source. */
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
