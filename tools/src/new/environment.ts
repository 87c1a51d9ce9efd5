/** Makes a new environment from the overlays of an existing one. */
import { defaultEnvironment, environmentOf } from "../../../lib/environment.ts";
import type { Repository } from "../../../lib/repository.ts";
import { WrongUsage } from "../cli/usage.ts";

/** The choices of the person. */
export interface EnvironmentOptions {
  name: string;
  /** The environment whose overlays are copied. */
  from: string;
  /** Its host name. The default is the other environment's host, with this environment's name in it. */
  host?: string;
}

/** Every environment for which the repository has overlays, except the default one. */
export function environments(repository: Repository): string[] {
  const found = [...repository.keys()].flatMap((path) =>
    path.startsWith("gitops/apps/") ? (environmentOf(path) ?? []) : [],
  );
  return [...new Set(found)].filter((name) => name !== defaultEnvironment).sort();
}

/**
 * Every file of an environment, by path.
 * @throws WrongUsage if `from` does not exist, the name is invalid, or two environments would have the same host
 */
export function environmentFiles(
  repository: Repository,
  { name, from, host }: EnvironmentOptions,
): Map<string, string> {
  if (!/^[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?$/.test(name) || name === defaultEnvironment || name === from)
    throw new WrongUsage(
      `'${name}' is not a name for another environment: expected lowercase letters, digits and hyphens`,
    );
  const known = environments(repository);
  if (!known.includes(from))
    throw new WrongUsage(
      `there is no environment ${from} to copy overlays from: expected one of ${known.join(", ")}`,
    );
  const word = new RegExp(`(?<![\\w-])${from}(?![\\w-])`, "g");
  const files = new Map<string, string>();
  for (const [path, text] of repository) {
    if (environmentOf(path) !== from || !path.startsWith("gitops/apps/")) continue;
    files.set(path.replaceAll(word, name), withHost(text.replaceAll(word, name), host));
  }
  for (const [path, text] of files) {
    const other = repository.get(path.replaceAll(`/overlays/${name}/`, `/overlays/${from}/`));
    if (hostIn(text) !== undefined && hostIn(text) === hostIn(other ?? ""))
      throw new WrongUsage(
        `${name} would have the host ${hostIn(text)}, which ${from} has: add --host NAME.example.com`,
      );
  }
  return files;
}

const hostLine = /^( {2}host: )(\S+)$/m;
const hostIn = (text: string): string | undefined => hostLine.exec(text)?.[2];
const withHost = (text: string, host: string | undefined): string =>
  host === undefined ? text : text.replace(hostLine, (_, key: string) => key + host);
