import { describeObject, groupOf, type KubernetesObject, type Manifest } from "../../../lib/object.ts";
import { type Application, bootstrap } from "../../../lib/render/cluster.ts";
import type { Graph } from "../graph.ts";
import { glob } from "./projects.ts";
import type { PolicyRule } from "./rbac.ts";
import type { Problem, Rule } from "./rule.ts";

interface Entry {
  server?: string;
  namespace?: string;
  defaultServiceAccount?: string;
}

interface Binding {
  roleRef?: { kind?: string; name?: string };
  subjects?: { kind: string; name: string; namespace?: string }[];
}

/** A ServiceAccount by its namespace and name. */
interface Account {
  namespace: string;
  name: string;
}

export const syncAccount: Rule = {
  id: "sync-account",
  isOfArgocd: true,
  isOfClusters: true,
  summary: "The ServiceAccount as which Argo CD syncs an Application exists and may write its objects",
  explanation: `With application.sync.impersonation.enabled Argo CD acts as the first entry of destinationServiceAccounts that matches the
  Application's destination. If none matches, it refuses the sync, unless application.sync.impersonation.enforced is false. The rule checks
  AppProjects that have such entries: one of them must match each of their Applications. If the repository has a layout, the ServiceAccount
  that the entry names must exist, and its roles must let it create, patch and delete each kind of object that the Application renders.`,
  check: (graph) =>
    graph.input.applications.flatMap((application): Problem[] => {
      const { manifest, name } = application;
      const project = graph.projectOf(application)?.object;
      const entries = (project?.spec?.destinationServiceAccounts ?? []) as Entry[];
      if (!manifest || name === bootstrap || !project || entries.length === 0) return [];
      const { server, namespace = "" } = manifest.object.spec?.destination ?? {};
      const say = (message: string, fix: string): Problem[] => [
        { manifest, path: ["spec", "destination"], message: `Application ${name}: ${message}`, fix },
      ];
      const found = entries.find(
        (entry) =>
          // The address of a cluster that is known by its name stands in a Secret.
          (server === undefined || glob(entry.server ?? "", server)) &&
          glob(entry.namespace ?? "", namespace),
      );
      const owner = `AppProject ${project.metadata.name}`;
      if (!found)
        return say(
          `no destinationServiceAccounts entry of ${owner} matches namespace ${namespace}`,
          "add an entry, as Argo CD refuses every sync without one",
        );
      const account = accountOf(found, namespace);
      if (!graph.layout) return [];
      if (graph.find("ServiceAccount", account.name, account.namespace))
        return missingRights(graph, application, account);
      return say(
        `${owner} lets Argo CD act as ServiceAccount ${account.namespace}/${account.name}, which does not exist`,
        "add the ServiceAccount beside the AppProject, or correct its name",
      );
    }),
};

/** An entry names an account of the destination's namespace, or one of another as `NAMESPACE:NAME`. */
function accountOf({ defaultServiceAccount: text = "" }: Entry, destination: string): Account {
  const [namespace = "", name = ""] = text.includes(":") ? text.split(":") : [destination, text];
  return { namespace, name };
}

const needed = ["create", "patch", "delete"];

/** What an account cannot write of an Application's objects: one problem for each kind and namespace. */
function missingRights(graph: Graph, application: Application, account: Account): Problem[] {
  const problems = new Map<string, Problem>();
  for (const manifest of application.manifests) {
    const { object } = manifest;
    const rules = rulesOf(graph, account, object.metadata.namespace);
    const resource = resourceOf(graph, object);
    const missing = rules && needed.filter((verb) => !rules.some((rule) => allows(rule, resource, verb)));
    if (!missing?.length) continue;
    const of = `${resource.plural}${resource.group && ` of ${resource.group}`}`;
    const what = `Argo CD syncs it as ServiceAccount ${account.namespace}/${account.name}, which lacks ${missing.join(", ")} on ${of}`;
    const key = `${of} ${object.metadata.namespace ?? ""}`;
    if (!problems.has(key))
      problems.set(key, {
        manifest,
        path: ["kind"],
        message: `${describeObject(object)}: ${what}`,
        fix: `grant it by a role of that account, which deploy.sh applies`,
      });
  }
  return [...problems.values()];
}

/** The rules of an account's roles, in a namespace or beyond all; undefined if one of the roles is not in this repository. */
function rulesOf(graph: Graph, account: Account, namespace?: string): PolicyRule[] | undefined {
  const ofAccount = ({ object }: Manifest): boolean =>
    ((object as Binding).subjects ?? []).some(
      (subject) =>
        subject.kind === "ServiceAccount" &&
        subject.name === account.name &&
        subject.namespace === account.namespace,
    );
  const bindings = [
    ...graph.ofKind("ClusterRoleBinding"),
    ...(namespace === undefined ? [] : graph.ofKind("RoleBinding", namespace)),
  ].filter(ofAccount);
  const roles = bindings.map(({ object }) => {
    const { kind = "", name = "" } = (object as Binding).roleRef ?? {};
    return graph.find(kind, name, kind === "Role" ? namespace : "");
  });
  if (roles.includes(undefined)) return undefined;
  return roles.flatMap((role) => (role?.object.rules ?? []) as PolicyRule[]);
}

interface Resource {
  group: string;
  plural: string;
  name: string;
}

/** The resource of an object: as its CustomResourceDefinition says, or as Kubernetes forms the names of its own. */
function resourceOf(graph: Graph, object: KubernetesObject): Resource {
  const group = groupOf(object);
  const definition = graph
    .ofKind("CustomResourceDefinition")
    .find(({ object: { spec } }) => spec?.group === group && spec?.names?.kind === object.kind);
  const plural: string = definition?.object.spec?.names?.plural ?? pluralOf(object.kind.toLowerCase());
  return { group, plural, name: object.metadata.name };
}

function pluralOf(singular: string): string {
  if (/(s|x|ch|sh)$/.test(singular)) return `${singular}es`;
  return /[^aeiou]y$/.test(singular) ? `${singular.slice(0, -1)}ies` : `${singular}s`;
}

function allows(rule: PolicyRule, { group, plural, name }: Resource, verb: string): boolean {
  const has = (list: string[] | undefined, word: string): boolean =>
    list?.includes(word) === true || list?.includes("*") === true;
  // A name is not known when an object is created, so Kubernetes ignores rules with names there.
  const named = rule.resourceNames?.length ? verb !== "create" && rule.resourceNames.includes(name) : true;
  return named && has(rule.apiGroups, group) && has(rule.resources, plural) && has(rule.verbs, verb);
}
