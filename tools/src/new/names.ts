/** Which names, paths and hosts a new service may have. */
import { load } from "js-yaml";
import { imagesEntries } from "../../../lib/images/names.ts";
import { readYaml } from "../../../lib/render/cluster.ts";
import { isKustomization } from "../../../lib/render/references.ts";
import type { Repository } from "../../../lib/repository.ts";
import { WrongUsage } from "../cli/usage.ts";

/** A service lives in a namespace of its own, which AppProject `services` knows by this beginning. */
export const namespaceOf = (name: string): string => `service-${name}`;

// A label of DNS is 63 characters at most (RFC 1123), and the longest that is made of the name is the namespace's.
const longest = 63 - namespaceOf("").length;

// What a command takes for something else than a service.
const words = ["all"];

// Unquoted, YAML reads these as something else than a text, and the templates have names unquoted.
const yamlWords = ["null", "true", "false", "yes", "no", "on", "off", "y", "n"];

// What the templates give to an object beside the one that has the service's name.
const objects = ["deny-all"];

/** Says whether a path is a service's own, so that it is no collision with another. */
export const isOwnPath = (path: string, name: string): boolean =>
  path.startsWith(`services/${name}/`) ||
  path.startsWith(`gitops/apps/${name}/`) ||
  path === `gitops/root/application-${name}.yaml` ||
  path === `docs/runbooks/service-${name}.md` ||
  path === `tools/monitoring/test/rules/service-${name}.yaml`;

/** True where the repository has a service of this name that was made by this command. */
export const isGenerated = (repository: Repository, name: string): boolean =>
  /^ {2}project: services$/m.test(repository.get(`gitops/root/application-${name}.yaml`) ?? "");

/** Checks a name by itself. @throws WrongUsage */
export function checkName(name: string): void {
  if (!/^[a-z](?:[a-z0-9-]*[a-z0-9])?$/.test(name))
    throw new WrongUsage(
      `'${name}' names no service: expected lowercase letters, digits and hyphens, a letter first and no hyphen last`,
    );
  if (name.length > longest)
    throw new WrongUsage(
      `'${name}' has ${name.length} characters: expected ${longest} at most, as its namespace is ${namespaceOf("NAME")}`,
    );
  if (words.includes(name)) throw new WrongUsage(`'${name}' is a word of the release command`);
  if (yamlWords.includes(name)) throw new WrongUsage(`'${name}' is a word of YAML: choose another name`);
  if (objects.includes(name))
    throw new WrongUsage(`'${name}' is what a policy of every service is called: choose another name`);
}

/** Checks a name against what the repository has. @throws WrongUsage that says what has the name already */
export function checkFree(repository: Repository, name: string): void {
  if (isGenerated(repository, name)) return;
  const taken = takenBy(repository, name);
  if (taken !== undefined) throw new WrongUsage(`'${name}' is taken by ${taken}: choose another name`);
}

function takenBy(repository: Repository, name: string): string | undefined {
  for (const [path, text] of repository) {
    if (path.startsWith(`services/${name}/`) || path.startsWith(`gitops/apps/${name}/`))
      return path.split("/").slice(0, -1).join("/");
    // A tag there is of the sources of that image, and a registry holds one image of a name.
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
    throw new WrongUsage(`'${path}' is no path of a service: expected /WORD, or several`);
  const taken = routesOf(repository, name).find(({ route }) => within(route, path) || within(path, route));
  if (taken)
    throw new WrongUsage(`the path ${path} meets ${taken.route}, which ${taken.file} serves already`);
}

const within = (inner: string, outer: string): boolean => inner === outer || inner.startsWith(`${outer}/`);

/** The paths that other services answer: those of their OpenAPI documents, and those of generated routes. */
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
  // A last label of digits alone is that of an address.
  if (host.length > 253 || !new RegExp(`^${label}(?:\\.${label})+$`).test(host) || /\.\d+$/.test(host))
    throw new WrongUsage(`'${host}' is no host name: expected one such as ${name}.example.com`);
  // In a list of hosts, as the host of an overlay, or in a setting; not as a part of another name, nor in a comment.
  const named = new RegExp(`^[^#\\n]*(?<![\\w.-])${host.replaceAll(".", "\\.")}(?![\\w.-])`, "m");
  for (const [file, text] of repository)
    if (file.startsWith("gitops/") && !isOwnPath(file, name) && named.test(text))
      throw new WrongUsage(`the host ${host} stands in ${file} already`);
}
