/** Finds the pods of a cluster: those of workloads, of operators' resources, and of gateways that istioctl installs. */

import { describeObject, type FieldPath, type KubernetesObject, type Manifest } from "../../../lib/object.ts";
import type { Graph } from "../graph.ts";

export type Labels = Record<string, string>;

export interface ContainerPort {
  name?: string;
  containerPort: number;
  hostPort?: number;
}

export interface SecurityContext {
  runAsNonRoot?: boolean;
  runAsUser?: number;
  privileged?: boolean;
  readOnlyRootFilesystem?: boolean;
  allowPrivilegeEscalation?: boolean;
  capabilities?: { drop?: string[]; add?: string[] };
  seccompProfile?: { type: string };
}

export interface Container {
  name: string;
  image?: string;
  restartPolicy?: string;
  ports?: ContainerPort[];
  resources?: { requests?: Record<string, string>; limits?: Record<string, string> };
  securityContext?: SecurityContext;
  // biome-ignore lint/suspicious/noExplicitAny: probes and environments are walked generically
  [field: string]: any;
}

export interface PodSpec {
  containers?: Container[];
  initContainers?: Container[];
  volumes?: { name: string; [source: string]: unknown }[];
  securityContext?: SecurityContext;
  serviceAccountName?: string;
  imagePullSecrets?: { name: string }[];
  topologySpreadConstraints?: { labelSelector?: Selector }[];
  hostNetwork?: boolean;
  hostPID?: boolean;
  hostIPC?: boolean;
}

/** A label selector of the API. */
export interface Selector {
  matchLabels?: Labels;
  matchExpressions?: { key: string; operator: string; values?: string[] }[];
}

/** A set of equal pods. */
export interface Pods {
  /** The object that creates them, such as `Deployment logging/app`. */
  owner: string;
  namespace: string;
  labels: Labels;
  ports: ContainerPort[];
  /** The rendered object with the path of the pods' spec; undefined for pods whose spec an operator generates. */
  source?: { manifest: Manifest; spec: PodSpec; path: FieldPath };
}

const templates: Record<string, FieldPath> = {
  Deployment: ["spec", "template"],
  StatefulSet: ["spec", "template"],
  DaemonSet: ["spec", "template"],
  ReplicaSet: ["spec", "template"],
  Job: ["spec", "template"],
  CronJob: ["spec", "jobTemplate", "spec", "template"],
  Pod: [],
};

// The Prometheus operator makes these pods for its resources.
const operated: Record<string, { label: string; ports: ContainerPort[] }> = {
  Prometheus: { label: "prometheus", ports: [{ name: "web", containerPort: 9090 }] },
  Alertmanager: { label: "alertmanager", ports: [{ name: "web", containerPort: 9093 }] },
};

const remembered = new WeakMap<Graph, Pods[]>();
const byNamespace = new WeakMap<Graph, Map<string, Pods[]>>();

/** All pods of a cluster. */
export function podsOf(graph: Graph): Pods[] {
  let pods = remembered.get(graph);
  if (!pods) {
    pods = [...graph.manifests.flatMap(podsOfObject), ...gatewayPods(graph)].map((set) =>
      withSidecar(graph, set),
    );
    remembered.set(graph, pods);
  }
  return pods;
}

/** The pods of a namespace. */
export function podsIn(graph: Graph, namespace: string): Pods[] {
  let index = byNamespace.get(graph);
  if (!index) {
    index = new Map();
    for (const pods of podsOf(graph)) {
      const list = index.get(pods.namespace);
      if (list) list.push(pods);
      else index.set(pods.namespace, [pods]);
    }
    byNamespace.set(graph, index);
  }
  return index.get(namespace) ?? [];
}

/** True for kinds whose pods run permanently, and not to completion. */
export function isLongRunning({ kind }: KubernetesObject): boolean {
  return kind === "Deployment" || kind === "StatefulSet" || kind === "DaemonSet";
}

/** A pod's containers with their paths. Init containers come first. */
export function containersOf({
  spec,
  path,
}: NonNullable<Pods["source"]>): { container: Container; path: FieldPath; first: boolean }[] {
  const of = (field: "initContainers" | "containers", first: boolean) =>
    (spec[field] ?? []).map((container, index) => ({ container, path: [...path, field, index], first }));
  return [...of("initContainers", true), ...of("containers", false)];
}

/** True if a selector matches pods with these labels. An empty selector matches all. */
export function selects({ matchLabels = {}, matchExpressions = [] }: Selector, labels: Labels): boolean {
  const equal = Object.entries(matchLabels).every(([key, value]) => labels[key] === value);
  return equal && matchExpressions.every((expression) => holds(expression, labels));
}

function holds(
  { key, operator, values = [] }: NonNullable<Selector["matchExpressions"]>[number],
  labels: Labels,
): boolean {
  const value = labels[key];
  switch (operator) {
    case "In":
      return value !== undefined && values.includes(value);
    case "NotIn":
      return value === undefined || !values.includes(value);
    case "Exists":
      return value !== undefined;
    default:
      return value === undefined;
  }
}

/** Formats a selector for people: `app=cart, tier In a b`. */
export function formatSelector({ matchLabels = {}, matchExpressions = [] }: Selector): string {
  const equal = Object.entries(matchLabels).map(([key, value]) => `${key}=${value}`);
  const others = matchExpressions.map(({ key, operator, values }) =>
    `${key} ${operator} ${(values ?? []).join(" ")}`.trim(),
  );
  return [...equal, ...others].join(", ");
}

function podsOfObject(manifest: Manifest): Pods[] {
  const { object } = manifest;
  const { namespace = "" } = object.metadata;
  const owner = describeObject(object);
  const path = templates[object.kind];
  if (path) {
    const template = path.reduce<KubernetesObject | undefined>((value, key) => value?.[key], object);
    if (!template?.spec) return [];
    const spec = template.spec as PodSpec;
    const ports = [...(spec.initContainers ?? []), ...(spec.containers ?? [])].flatMap(
      (container) => container.ports ?? [],
    );
    return [
      {
        owner,
        namespace,
        labels: template.metadata?.labels ?? {},
        ports,
        source: { manifest, spec, path: [...path, "spec"] },
      },
    ];
  }
  const made = operated[object.kind];
  if (!made || !object.apiVersion.startsWith("monitoring.coreos.com/")) return [];
  const { name } = object.metadata;
  const labels = {
    "app.kubernetes.io/name": made.label,
    "app.kubernetes.io/instance": name,
    "app.kubernetes.io/managed-by": "prometheus-operator",
    "operator.prometheus.io/name": name,
    [made.label]: name,
    ...object.spec?.podMetadata?.labels,
  };
  const web = made.ports.map((port) => ({ ...port, name: object.spec?.portName ?? port.name }));
  return [{ owner, namespace, labels, ports: [...web, { name: "reloader-web", containerPort: 8080 }] }];
}

function gatewayPods(graph: Graph): Pods[] {
  return graph.istioOperators().flatMap(({ gateways }) =>
    gateways
      .filter(({ enabled }) => enabled)
      .map(({ name, namespace, labels }) => ({
        owner: `gateway ${name}`,
        namespace,
        labels: { app: name, istio: name.replace(/^istio-/, ""), ...labels },
        ports: [...[80, 443, 8080, 8443, 15021].map((containerPort) => ({ containerPort })), ...sidecarPorts],
      })),
  );
}

const sidecarPorts: ContainerPort[] = [
  { name: "http-envoy-prom", containerPort: 15090 },
  { containerPort: 15020 },
];

// Injection adds a container that is in no manifest.
function withSidecar(graph: Graph, pods: Pods): Pods {
  const labels = graph.find("Namespace", pods.namespace)?.object.metadata.labels ?? {};
  const injected = labels["istio-injection"] === "enabled" || labels["istio.io/rev"] !== undefined;
  const wanted = pods.labels["sidecar.istio.io/inject"] ?? String(injected);
  return wanted === "true" ? { ...pods, ports: [...pods.ports, ...sidecarPorts] } : pods;
}
