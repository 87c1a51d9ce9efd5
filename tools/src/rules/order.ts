import { describeObject, groupOf, type Manifest } from "../../../lib/object.ts";
import { bootstrap } from "../../../lib/render/cluster.ts";
import type { Graph } from "../graph.ts";
import type { Problem, Rule } from "./rule.ts";

const waveAnnotation = "argocd.argoproj.io/sync-wave";
const skipDryRun = "SkipDryRunOnMissingResource=true";

export const syncOrder: Rule = {
  id: "sync-order",
  summary: "A definition is synced before its resources, and a namespace before the objects in it",
  explanation: `Within one Application, Argo CD applies namespaces and CustomResourceDefinitions first. Between Applications, only sync waves define an
  order: the Application with the definition or the namespace must be in an earlier wave (annotation ${waveAnnotation}), or the
  first sync of a fresh cluster fails. Inside an Application, a later wave for the namespace or the definition is also wrong. A custom resource
  with the sync option ${skipDryRun} is exempt, because its sync is retried. So is a namespace that the Application's
  option CreateNamespace=true makes, and everything that exists before Argo CD: Kubernetes' own namespaces, objects that deploy.sh applies, and
  Argo CD's own definitions, which later belong to the Application with which it manages itself.`,
  check: (graph) => {
    const waves = new Map(graph.input.applications.map(({ name }) => [name, waveOf(graph, name)]));
    const definitions = new Map(
      graph.ofKind("CustomResourceDefinition").map((manifest) => {
        const { group, names } = manifest.object.spec ?? {};
        return [`${group} ${names?.kind}`, manifest];
      }),
    );
    const given = graph.givenNamespaces();
    return graph.manifests.flatMap((manifest) => {
      if (manifest.application === bootstrap) return [];
      const { object } = manifest;
      const problems: Problem[] = [];
      const definition = definitions.get(`${groupOf(object)} ${object.kind}`);
      if (definition && !options(manifest).includes(skipDryRun)) {
        problems.push(...late(graph, manifest, definition, waves));
      }
      const { namespace } = object.metadata;
      if (namespace && !given.has(namespace) && !createsNamespace(graph, manifest)) {
        const owner = graph.find("Namespace", namespace);
        if (owner) problems.push(...late(graph, manifest, owner, waves));
        else {
          problems.push({
            manifest,
            path: ["metadata", "namespace"],
            message: `${describeObject(object)}: nothing creates the namespace ${namespace}`,
            fix: "add a Namespace manifest with its labels, or correct the name",
          });
        }
      }
      return problems;
    });
  },
};

function late(graph: Graph, manifest: Manifest, needed: Manifest, waves: Map<string, number>): Problem[] {
  const what = describeObject(needed.object);
  const own = describeObject(manifest.object);
  if (needed.application === bootstrap || needed.application === graph.layout?.selfManagement) return [];
  if (needed.application === manifest.application) {
    const [mine, its] = [objectWave(manifest), objectWave(needed)];
    if (its <= mine) return [];
    const message = `${own} is in wave ${mine}, but ${what} comes in wave ${its}`;
    return [
      {
        manifest,
        path: ["metadata", "annotations", waveAnnotation],
        message,
        fix: `give ${what} a wave of at most ${mine}`,
      },
    ];
  }
  const [mine, its] = [
    waves.get(manifest.application) ?? 0,
    waves.get(needed.application) ?? Number.NEGATIVE_INFINITY,
  ];
  if (its < mine) return [];
  const message = `${own} is synced by Application ${manifest.application} (wave ${mine}), but ${what} by Application ${needed.application} (wave ${its})`;
  const fix = `put Application ${needed.application} into a wave before ${mine} (annotation ${waveAnnotation})`;
  return [{ manifest, path: ["kind"], message, fix }];
}

const objectWave = ({ object }: Manifest): number =>
  Number(object.metadata.annotations?.[waveAnnotation] ?? 0) || 0;

// A grandchild is synced after the siblings of its parent that have earlier waves, so the topmost waves are compared.
function waveOf(graph: Graph, name: string): number {
  const application = graph.input.applications.find((candidate) => candidate.name === name);
  if (!application?.manifest || !application.parent || application.parent === bootstrap)
    return Number.NEGATIVE_INFINITY;
  const above = waveOf(graph, application.parent);
  return Number.isFinite(above) ? above : objectWave(application.manifest);
}

function options({ object }: Manifest): string[] {
  return (object.metadata.annotations?.["argocd.argoproj.io/sync-options"] ?? "")
    .split(",")
    .map((option) => option.trim());
}

function createsNamespace(graph: Graph, manifest: Manifest): boolean {
  const spec = graph.application(manifest)?.manifest?.object.spec;
  const creates = (spec?.syncPolicy?.syncOptions ?? []).includes("CreateNamespace=true");
  return creates && spec?.destination?.namespace === manifest.object.metadata.namespace;
}
