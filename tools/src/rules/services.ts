/** Finds the Services of a cluster, and the Service that a host name means. */

import { describeObject, type Manifest } from "../../../lib/object.ts";
import type { Graph } from "../graph.ts";

export interface ServicePort {
  name?: string;
  port: number;
  targetPort?: string | number;
}

/** A Service from a manifest, or one that an operator, istioctl or Kubernetes makes. */
export interface KnownService {
  name: string;
  namespace: string;
  labels: Record<string, string>;
  ports: ServicePort[];
  manifest?: Manifest;
}

const remembered = new WeakMap<Graph, Map<string, KnownService>>();

/** Every Service that is rendered, made by an operator or installed by istioctl, by `namespace/name`. */
export function servicesOf(graph: Graph): Map<string, KnownService> {
  let services = remembered.get(graph);
  if (!services) {
    services = new Map(all(graph).map((service) => [`${service.namespace}/${service.name}`, service]));
    remembered.set(graph, services);
  }
  return services;
}

function all(graph: Graph): KnownService[] {
  const rendered = graph.ofKind("Service").map((manifest) => ({
    name: manifest.object.metadata.name,
    namespace: manifest.object.metadata.namespace ?? "default",
    labels: manifest.object.metadata.labels ?? {},
    ports: (manifest.object.spec?.ports ?? []) as ServicePort[],
    manifest,
  }));
  const operated = [
    ...graph.ofKind("Prometheus").map((manifest) => ({ manifest, name: "prometheus-operated", port: 9090 })),
    ...graph
      .ofKind("Alertmanager")
      .map((manifest) => ({ manifest, name: "alertmanager-operated", port: 9093 })),
  ].map(({ manifest: { object }, name, port }) => ({
    name,
    namespace: object.metadata.namespace ?? "default",
    labels: { [name]: "true" },
    ports: [{ name: object.spec?.portName ?? "web", port }],
  }));
  const installed = graph.istioOperators().flatMap(({ namespace, gateways }) => {
    return [
      {
        name: "istiod",
        namespace,
        labels: {
          app: "istiod",
          istio: "pilot",
          "istio.io/rev": "default",
          "app.kubernetes.io/name": "istiod",
        },
        ports: [{ port: 15010 }, { port: 15012 }, { port: 443 }, { name: "http-monitoring", port: 15014 }],
      },
      ...gateways.map((gateway) => ({
        name: gateway.name,
        namespace: gateway.namespace,
        labels: { app: gateway.name, istio: gateway.name.replace(/^istio-/, "") },
        ports: [
          { name: "status-port", port: 15021 },
          { name: "http2", port: 80 },
          { name: "https", port: 443 },
        ],
      })),
    ];
  });
  return [
    {
      name: "kubernetes",
      namespace: "default",
      labels: { component: "apiserver", provider: "kubernetes" },
      ports: [{ name: "https", port: 443 }],
    },
    ...installed,
    ...operated,
    ...rendered,
  ];
}

/** The Service that a host in the mesh means, as seen from a namespace; undefined for hosts outside of the cluster. */
export function serviceOfHost(graph: Graph, host: string, namespace: string): KnownService | undefined {
  const [, name, of] = /^([^.]+)(?:\.([^.]+)(?:\.svc(?:\.cluster\.local)?)?)?$/.exec(host) ?? [];
  return name ? servicesOf(graph).get(`${of ?? namespace}/${name}`) : undefined;
}

/** Describes a Service and its ports for people. */
export function describePorts({ name, namespace, ports, manifest }: KnownService): string {
  const who = manifest ? describeObject(manifest.object) : `Service ${namespace}/${name}`;
  return `${who} has ${ports.map((port) => (port.name ? `${port.name} (${port.port})` : port.port)).join(", ") || "no ports"}`;
}
