import { describeObject, type FieldPath, formatPath, type Manifest } from "../../../lib/object.ts";
import type { Graph } from "../graph.ts";
import { formatSelector, type Labels, podsIn, podsOf, type Selector, selects } from "./pods.ts";
import type { Problem, Rule } from "./rule.ts";
import { type KnownService, serviceOfHost, servicesOf } from "./services.ts";

interface Use {
  path: FieldPath;
  selector: Selector;
  /** The label sets from which the selector chooses. `what` is their name in a message. */
  candidates: () => Labels[];
  what: string;
}

export const selectorMatches: Rule = {
  id: "selector-matches",
  summary: "Every selector matches something",
  explanation: `Kubernetes accepts a selector that matches nothing: the Service has no endpoints, the budget and the policy protect nothing, the monitor
  scrapes nothing. The rule checks Service, PodDisruptionBudget, NetworkPolicy (its pods), the selector and the topology spread of workloads
  (with the labels of their own template), ServiceMonitor (with the labels of Services in its namespaces), PodMonitor, whether a Prometheus
  selects each monitor and rule, subsets of a DestinationRule (with the pods of its host), and Gateway, AuthorizationPolicy,
  PeerAuthentication, RequestAuthentication, Sidecar, EnvoyFilter and Telemetry. Pods are those of rendered workloads, of the Prometheus
  operator and of the gateways in an IstioOperator under bootstrap. An empty selector matches everything and is exempt.`,
  check: (graph) =>
    graph.own().flatMap((manifest) => [
      ...usesOf(graph, manifest)
        .filter(
          ({ selector, candidates }) =>
            !isEmpty(selector) && !candidates().some((labels) => selects(selector, labels)),
        )
        .map(({ path, selector, what }): Problem => {
          const message = `${describeObject(manifest.object)} ${formatPath(path)} matches no ${what}: ${formatSelector(selector)}`;
          return { manifest, path, message, fix: "correct the labels on one side" };
        }),
      ...unpicked(graph, manifest),
    ]),
};

const isEmpty = ({ matchLabels = {}, matchExpressions = [] }: Selector): boolean =>
  Object.keys(matchLabels).length === 0 && matchExpressions.length === 0;

function usesOf(graph: Graph, manifest: Manifest): Use[] {
  const { kind, metadata, spec = {} } = manifest.object;
  const { namespace = "" } = metadata;
  const pods = (): Labels[] => podsIn(graph, namespace).map(({ labels }) => labels);
  const onPods = (path: FieldPath, selector: Selector | undefined): Use[] =>
    selector ? [{ path, selector, candidates: pods, what: `pod in namespace ${namespace}` }] : [];
  switch (kind) {
    case "Service":
      return onPods(["spec", "selector"], spec.selector && { matchLabels: spec.selector });
    case "PodDisruptionBudget":
      return onPods(["spec", "selector"], spec.selector);
    case "NetworkPolicy":
      return onPods(["spec", "podSelector"], spec.podSelector);
    case "AuthorizationPolicy":
    case "PeerAuthentication":
    case "RequestAuthentication":
    case "Telemetry":
      return onPods(["spec", "selector"], spec.selector);
    case "Sidecar":
    case "EnvoyFilter":
      return onPods(
        ["spec", "workloadSelector"],
        spec.workloadSelector && { matchLabels: spec.workloadSelector.labels ?? {} },
      );
    case "Gateway":
      return manifest.object.apiVersion.startsWith("networking.istio.io/")
        ? [
            {
              path: ["spec", "selector"],
              selector: { matchLabels: spec.selector ?? {} },
              candidates: () => podsOf(graph).map(({ labels }) => labels),
              what: "gateway's pods",
            },
          ]
        : [];
    case "DestinationRule":
      return subsetUses(graph, manifest);
    case "ServiceMonitor":
      return [
        {
          path: ["spec", "selector"],
          selector: spec.selector ?? {},
          candidates: () => servicesSeen(graph, manifest).map(({ labels }) => labels),
          what: "Service in its namespaces",
        },
      ];
    case "PodMonitor":
      return [
        {
          path: ["spec", "selector"],
          selector: spec.selector ?? {},
          candidates: () => podsSeen(graph, manifest).map(({ labels }) => labels),
          what: "pod in its namespaces",
        },
      ];
    default:
      return workloadUses(manifest);
  }
}

function workloadUses(manifest: Manifest): Use[] {
  const { spec } = manifest.object;
  const labels = spec?.template?.metadata?.labels as Labels | undefined;
  if (!labels || !spec.template.spec) return [];
  const own = { candidates: () => [labels], what: "pod of its own template" };
  const spreads = (spec.template.spec.topologySpreadConstraints ?? []) as { labelSelector?: Selector }[];
  return [
    ...(spec.selector ? [{ path: ["spec", "selector"], selector: spec.selector, ...own }] : []),
    ...spreads.flatMap(({ labelSelector }, index) => {
      const path = ["spec", "template", "spec", "topologySpreadConstraints", index, "labelSelector"];
      return labelSelector ? [{ path, selector: labelSelector, ...own }] : [];
    }),
  ];
}

function subsetUses(graph: Graph, { object }: Manifest): Use[] {
  const subsets = (object.spec?.subsets ?? []) as { name: string; labels?: Labels }[];
  const service = serviceOfHost(graph, object.spec?.host ?? "", object.metadata.namespace ?? "");
  const chosen = service?.manifest?.object.spec?.selector as Labels | undefined;
  if (!service || !chosen) return [];
  return subsets.map(({ labels }, index) => ({
    path: ["spec", "subsets", index, "labels"],
    selector: { matchLabels: labels ?? {} },
    candidates: () =>
      podsIn(graph, service.namespace)
        .map((pods) => pods.labels)
        .filter((candidate) => selects({ matchLabels: chosen }, candidate)),
    what: `pod of Service ${service.namespace}/${service.name}`,
  }));
}

/** Namespaces in which a monitor finds its targets; undefined for all. */
function namespacesSeen({ object }: Manifest): string[] | undefined {
  const { any, matchNames } = (object.spec?.namespaceSelector ?? {}) as {
    any?: boolean;
    matchNames?: string[];
  };
  return any ? undefined : (matchNames ?? [object.metadata.namespace ?? ""]);
}

/** The Services from which a ServiceMonitor can select. */
export function servicesSeen(graph: Graph, monitor: Manifest): KnownService[] {
  const namespaces = namespacesSeen(monitor);
  return [...servicesOf(graph).values()].filter(({ namespace }) => namespaces?.includes(namespace) ?? true);
}

/** The pods from which a PodMonitor can select. */
export function podsSeen(graph: Graph, monitor: Manifest): ReturnType<typeof podsOf> {
  const namespaces = namespacesSeen(monitor);
  return namespaces ? namespaces.flatMap((namespace) => podsIn(graph, namespace)) : podsOf(graph);
}

const pickedBy: Record<string, string> = {
  ServiceMonitor: "serviceMonitor",
  PodMonitor: "podMonitor",
  PrometheusRule: "rule",
  Probe: "probe",
  ScrapeConfig: "scrapeConfig",
};

// A Prometheus without a selector selects nothing. An empty selector selects everything.
function unpicked(graph: Graph, manifest: Manifest): Problem[] {
  const { object } = manifest;
  const field = pickedBy[object.kind];
  const servers = graph.ofKind("Prometheus");
  if (!field || !object.apiVersion.startsWith("monitoring.coreos.com/") || servers.length === 0) return [];
  const namespace = object.metadata.namespace ?? "";
  const space = graph.find("Namespace", namespace)?.object.metadata.labels ?? {};
  const picks = ({ object: server }: Manifest): boolean => {
    const selector = server.spec?.[`${field}Selector`] as Selector | undefined;
    const spaces = server.spec?.[`${field}NamespaceSelector`] as Selector | undefined;
    const near = spaces ? selects(spaces, space) : server.metadata.namespace === namespace;
    return selector !== undefined && near && selects(selector, object.metadata.labels ?? {});
  };
  if (servers.some(picks)) return [];
  const names = servers.map((server) => describeObject(server.object)).join(", ");
  const message = `${describeObject(object)} is not selected by any ${field}Selector: ${names}`;
  return [
    {
      manifest,
      path: ["metadata", "labels"],
      message,
      fix: `give it the labels of ${field}Selector, or extend ${field}NamespaceSelector`,
    },
  ];
}
