/** Finds what differs between the versions that the Go modules of a group require. */
import { compare } from "semver";
import { Failure } from "../../../lib/failure.ts";
import type { Requirements } from "../../../lib/modules.ts";

/**
 * What has to change so that all modules of a group get the same versions: the highest of each that one of them requires.
 * @param group the requirements of each go.mod by its module's name
 * @returns the new versions by the names of the modules that change; empty if nothing has to
 * @throws Failure if one module requires more than what another one replaces by its own version
 */
export function versionsToSet(group: Map<string, Requirements>): Map<string, Map<string, string>> {
  const highest = new Map<string, string>();
  for (const { required, replaced } of group.values())
    for (const [path, version] of required) {
      const now = replaced.get(path) ?? version;
      const before = highest.get(path);
      if (before === undefined || compare(now, before) > 0) highest.set(path, now);
    }
  const changes = new Map<string, Map<string, string>>();
  for (const [name, { required, replaced }] of group) {
    const changed = new Map<string, string>();
    for (const [path, version] of required) {
      const wanted = highest.get(path) ?? version;
      const replacement = replaced.get(path);
      if (replacement !== undefined && replacement !== wanted)
        throw new Failure(
          `${name} replaces ${path} by ${replacement}, and another module of its group requires ${wanted}`,
          `raise the replacements in ${name}/go.mod, or lower what the other one requires`,
        );
      if (replacement === undefined && version !== wanted) changed.set(path, wanted);
    }
    if (changed.size > 0) changes.set(name, changed);
  }
  return changes;
}
