/** An environment of one's own: the overlays of one that there is, under another name. */
import { defaultEnvironment, environmentOf } from "../../../lib/environment.ts";
import type { Repository } from "../../../lib/repository.ts";
import { WrongUsage } from "../cli/usage.ts";

/** What a person chooses. */
export interface EnvironmentOptions {
  name: string;
  /** The environment whose overlays are taken. */
  from: string;
  /** The name that it is reached by; otherwise that of the other, with this environment's name in it. */
  host?: string;
}

/** Every environment that the Applications of a repository have overlays for, but the default one. */
export function environments(repository: Repository): string[] {
  const found = [...repository.keys()].flatMap((path) =>
    path.startsWith("gitops/apps/") ? (environmentOf(path) ?? []) : [],
  );
  return [...new Set(found)].filter((name) => name !== defaultEnvironment).sort();
}

/**
 * Every file of an environment, by path.
 * @throws WrongUsage where there is none to take, the name cannot be one, or two environments would have one host
 */
export function environmentFiles(
  repository: Repository,
  { name, from, host }: EnvironmentOptions,
): Map<string, string> {
  if (!/^[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?$/.test(name) || name === defaultEnvironment || name === from)
    throw new WrongUsage(
      `'${name}' names no other environment: expected lowercase letters, digits and hyphens`,
    );
  const known = environments(repository);
  if (!known.includes(from))
    throw new WrongUsage(
      `there is no environment ${from} to take overlays from: expected one of ${known.join(", ")}`,
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
        `${name} would answer to ${hostIn(text)}, as ${from} does: add --host NAME.example.com`,
      );
  }
  return files;
}

const hostLine = /^( {2}host: )(\S+)$/m;
const hostIn = (text: string): string | undefined => hostLine.exec(text)?.[2];
const withHost = (text: string, host: string | undefined): string =>
  host === undefined ? text : text.replace(hostLine, (_, key: string) => key + host);
