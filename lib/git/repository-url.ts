/** Which URLs mean the same repository: people and Argo CD write one in several ways. */

interface Parts {
  way: string;
  host: string;
  port: string;
  path: string;
}

// The schemes that Git uses, each with its default port. An `oci:` URL is never a Git repository.
const ways: Record<string, { way: string; port: string }> = {
  "http:": { way: "web", port: "80" },
  "https:": { way: "web", port: "443" },
  "ssh:": { way: "ssh", port: "22" },
  "git+ssh:": { way: "ssh", port: "22" },
  "git:": { way: "git", port: "9418" },
};

/**
 * True if two URLs mean one repository: with and without `.git`, a slash at the end, a user, the usual port,
 * over https or SSH, in capitals or not.
 */
export function sameRepository(one: string, other: string): boolean {
  const [a, b] = [partsOf(one), partsOf(other)];
  if (!a || !b) return one.trim() === other.trim();
  // If the two use different schemes, their ports need not match.
  return a.host === b.host && a.path === b.path && (a.way !== b.way || a.port === b.port);
}

function partsOf(text: string): Parts | undefined {
  // `git@host:path` and `host:path`, as SSH's copy program writes them.
  const [, host, path] = /^(?:[^@/:]+@)?(\[[^\]]+\]|[^@/:[\]]+):(?!\/\/)(.*)$/.exec(text.trim()) ?? [];
  const address = host ? `ssh://${host}/${path}` : text.trim();
  if (!URL.canParse(address)) return undefined;
  const url = new URL(address);
  const spoken = ways[url.protocol];
  if (!spoken || url.host === "") return undefined;
  return {
    way: spoken.way,
    // Inside a cluster a Service has a short and a long name.
    host: url.hostname
      .toLowerCase()
      .replace(/\.$/, "")
      .replace(/\.svc\.cluster\.local$/, ".svc"),
    port: url.port === spoken.port ? "" : url.port,
    path: decoded(url.pathname)
      .toLowerCase()
      .replace(/\/{2,}/g, "/")
      .replace(/\/$/, "")
      .replace(/\.git$/, ""),
  };
}

function decoded(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}
