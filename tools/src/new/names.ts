/** Checks the name, the path and the host of a new service. */
import { load } from "js-yaml";
import { imagesEntries } from "../../../lib/images/names.ts";
import { readYaml } from "../../../lib/render/cluster.ts";
import { isKustomization } from "../../../lib/render/references.ts";
import type { Repository } from "../../../lib/repository.ts";
import { WrongUsage } from "../cli/usage.ts";

/** Each service has its own namespace, which the AppProject `services` recognizes by this prefix. */
export const namespaceOf = (name: string): string => `service-${name}`;

// A DNS label has at most 63 characters (RFC 1123), and the namespace is the longest label that contains the name.
const longest = 63 - namespaceOf("").length;

// Commands do not read these words as the name of a service.
const words = ["all"];

// YAML does not read these words as strings without quotes, and the templates do not quote names.
const yamlWords = ["null", "true", "false", "yes", "no", "on", "off", "y", "n"];

// The templates use these names for other objects of a service.
const objects = ["deny-all"];

/** True for a path that belongs to the service itself, so that it is not a collision. */
export const isOwnPath = (path: string, name: string): boolean =>
  path.startsWith(`services/${name}/`) ||
  path.startsWith(`gitops/apps/${name}/`) ||
  path === `gitops/root/application-${name}.yaml` ||
  path === `docs/runbooks/service-${name}.md` ||
  path === `tools/monitoring/test/rules/service-${name}.yaml`;

/** True if the repository has a service with this name that this command made. */
export const isGenerated = (repository: Repository, name: string): boolean =>
  /^ {2}project: services$/m.test(repository.get(`gitops/root/application-${name}.yaml`) ?? "");

/** Checks a name by itself. @throws WrongUsage */
export function checkName(name: string): void {
  if (!/^[a-z](?:[a-z0-9-]*[a-z0-9])?$/.test(name))
    throw new WrongUsage(
      `'${name}' cannot be a service's name: expected lowercase letters, digits and hyphens, a letter first and no hyphen last`,
    );
  if (name.length > longest)
    throw new WrongUsage(
      `'${name}' has ${name.length} characters: expected at most ${longest}, because its namespace is ${namespaceOf("NAME")}`,
    );
  if (words.includes(name)) throw new WrongUsage(`'${name}' is a word of the release command`);
  if (yamlWords.includes(name)) throw new WrongUsage(`'${name}' is a word of YAML: choose another name`);
  if (objects.includes(name))
    throw new WrongUsage(`'${name}' is the name of a policy that every service has: choose another name`);
}

/** Checks that the repository does not use a name yet. @throws WrongUsage that says what has the name */
export function checkFree(repository: Repository, name: string): void {
  if (isGenerated(repository, name)) return;
  const taken = takenBy(repository, name);
  if (taken !== undefined) throw new WrongUsage(`'${name}' is taken by ${taken}: choose another name`);
}

function takenBy(repository: Repository, name: string): string | undefined {
  for (const [path, text] of repository) {
    if (path.startsWith(`services/${name}/`) || path.startsWith(`gitops/apps/${name}/`))
      return path.split("/").slice(0, -1).join("/");
    // That image has its own tags, and a registry has only one image with a name.
    if (path.startsWith(`bootstrap/embedded/images/${name}/`)) return `bootstrap/embedded/images/${name}`;
    if (!/^(?:gitops|bootstrap\/argocd)\/.*\.ya?ml$/.test(path)) continue;
    const kind = objectsIn(text).find(
      (object) => object.name === name && /^(Application|PodMonitor|ServiceMonitor)$/.test(object.kind),
    )?.kind;
    if (kind) return `${kind} ${name} in ${path}`;
    if (isKustomization(path) && imagesOf(repository, path).some((image) => image.endsWith(`/${name}`)))
      return `an images entry in ${path}`;
  }
  return undefined;
}

const imagesOf = (repository: Repository, path: string): string[] =>
  imagesEntries(readYaml(repository, path)).map((entry) => entry.newName ?? entry.name);

function objectsIn(text: string): { kind: string; name: string | undefined }[] {
  return text.split(/^---$/m).map((document) => ({
    kind: /^kind: (\w+)/m.exec(document)?.[1] ?? "",
    name: /^metadata:\n(?: .*\n)*? {2}name: ["']?([\w.-]+)/m.exec(document)?.[1],
  }));
}

/** Checks a path of the gateway: its form, and that no other service answers there. @throws WrongUsage */
export function checkPath(repository: Repository, name: string, path: string): void {
  if (!/^(?:\/[A-Za-z0-9][\w.~-]*)+$/.test(path))
    throw new WrongUsage(`'${path}' is not a valid path of a service: expected /WORD, or several of them`);
  const taken = routesOf(repository, name).find(({ route }) => within(route, path) || within(path, route));
  if (taken)
    throw new WrongUsage(`the path ${path} overlaps with ${taken.route}, which ${taken.file} already serves`);
}

const within = (inner: string, outer: string): boolean => inner === outer || inner.startsWith(`${outer}/`);

/** The paths of other services: those in their OpenAPI documents, and those of generated routes. */
function routesOf(repository: Repository, name: string): { file: string; route: string }[] {
  return [...repository].flatMap(([file, text]) => {
    if (isOwnPath(file, name)) return [];
    if (/^services\/[^/]+\/openapi\.yaml$/.test(file)) {
      const { paths = {} } = (load(text) ?? {}) as { paths?: object };
      return Object.keys(paths)
        .filter((route) => route !== "/")
        .map((route) => ({ file, route }));
    }
    if (!/^gitops\/apps\/[^/]+\/base\/mesh\/virtualservice\.yaml$/.test(file)) return [];
    return [...text.matchAll(/^ +prefix: (\/\S*?)\/?$/gm)].map(([, route = ""]) => ({ file, route }));
  });
}

/** Checks a host name: its form, and that no other service has it. @throws WrongUsage */
export function checkHost(repository: Repository, name: string, host: string): void {
  const label = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?";
  // A last label of digits only belongs to an IP address.
  if (host.length > 253 || !new RegExp(`^${label}(?:\\.${label})+$`).test(host) || /\.\d+$/.test(host))
    throw new WrongUsage(`'${host}' is not a host name: expected one such as ${name}.example.com`);
  // This matches the host in lists, overlays and settings, but not in comments or as a part of another name.
  const named = new RegExp(`^[^#\\n]*(?<![\\w.-])${host.replaceAll(".", "\\.")}(?![\\w.-])`, "m");
  for (const [file, text] of repository)
    if (file.startsWith("gitops/") && !isOwnPath(file, name) && named.test(text))
      throw new WrongUsage(`the host ${host} is already used in ${file}`);
}
