import { describeObject, type FieldPath, type Manifest } from "../../../lib/object.ts";
import type { Graph } from "../graph.ts";
import { type ContainerPort, containersOf, podsIn, podsOf, type Selector, selects } from "./pods.ts";
import type { Problem, Rule } from "./rule.ts";
import { podsSeen, servicesSeen } from "./selectors.ts";
import { describePorts, type ServicePort, servicesOf } from "./services.ts";

export const portExists: Rule = {
  id: "port-exists",
  summary: "Every port that is referred to exists",
  explanation: `Kubernetes accepts a Service whose targetPort no container declares, a probe of a named port that its container lacks, and a monitor for a
  port that the Service does not have, but none of them ever gets an answer. The rule compares the ports of Services with the pods that they
  select, probes and lifecycle hooks with their container, monitors with the Services or pods that they select, named ports of a
  NetworkPolicy, backends of an Ingress, and portLevelMtls of a PeerAuthentication. In namespaces with injection, a sidecar's ports count too.`,
  check: (graph) => [
    ...graph.own().flatMap((manifest) => portsOfObject(graph, manifest)),
    ...podsOf(graph).flatMap(({ source }) => (source && !source.manifest.foreign ? probes(source) : [])),
  ],
};

const has = (ports: ContainerPort[], wanted: string | number): boolean =>
  ports.some(({ name, containerPort }) =>
    typeof wanted === "number" ? containerPort === wanted : name === wanted,
  );

const list = (ports: ContainerPort[]): string =>
  [...new Map(ports.map((port) => [`${port.name} ${port.containerPort}`, port])).values()]
    .map(({ name, containerPort }) => (name ? `${name} (${containerPort})` : containerPort))
    .join(", ") || "none";

function portsOfObject(graph: Graph, manifest: Manifest): Problem[] {
  const { kind, metadata, spec = {} } = manifest.object;
  const { namespace = "" } = metadata;
  const own = describeObject(manifest.object);
  const problem = (path: FieldPath, message: string, fix: string): Problem => ({
    manifest,
    path,
    message: `${own}: ${message}`,
    fix,
  });
  switch (kind) {
    case "Service": {
      const matched = podsIn(graph, namespace).filter(
        ({ labels }) => spec.selector && selects({ matchLabels: spec.selector }, labels),
      );
      return ((spec.ports ?? []) as ServicePort[]).flatMap(({ port, targetPort = port }, index) =>
        matched
          .filter(({ ports }) => !has(ports, targetPort))
          .map(({ owner, ports }) =>
            problem(
              ["spec", "ports", index, "targetPort"],
              `${owner} has no port ${targetPort}`,
              `write one of its ports: ${list(ports)}`,
            ),
          ),
      );
    }
    case "NetworkPolicy": {
      const matched = podsIn(graph, namespace).filter(({ labels }) =>
        selects((spec.podSelector ?? {}) as Selector, labels),
      );
      const ingress = (spec.ingress ?? []) as { ports?: { port?: string | number }[] }[];
      return ingress.flatMap(({ ports = [] }, rule) =>
        ports.flatMap(({ port }, index) => {
          if (
            typeof port !== "string" ||
            matched.length === 0 ||
            matched.some((pods) => has(pods.ports, port))
          )
            return [];
          const known = list(matched.flatMap((pods) => pods.ports));
          return [
            problem(
              ["spec", "ingress", rule, "ports", index, "port"],
              `its pods have no port ${port}`,
              `write one of ${known}`,
            ),
          ];
        }),
      );
    }
    case "Ingress":
      return backends(spec).flatMap(({ path, name, port }) => {
        const service = servicesOf(graph).get(`${namespace}/${name}`);
        if (
          !service ||
          service.ports.some((known) => known.port === port.number || (port.name && known.name === port.name))
        )
          return [];
        return [
          problem(path, `Service ${name} has no port ${port.name ?? port.number}`, describePorts(service)),
        ];
      });
    case "PeerAuthentication": {
      const selector = (spec.selector ?? {}) as Selector;
      const matched = podsIn(graph, namespace).filter(({ labels }) => selects(selector, labels));
      return Object.keys(spec.portLevelMtls ?? {})
        .filter((port) => matched.length > 0 && !matched.some(({ ports }) => has(ports, Number(port))))
        .map((port) =>
          problem(
            ["spec", "portLevelMtls", port],
            `its pods have no port ${port}`,
            `write a container's port: ${list(matched.flatMap(({ ports }) => ports))}`,
          ),
        );
    }
    case "ServiceMonitor": {
      const matched = servicesSeen(graph, manifest).filter(({ labels }) =>
        selects((spec.selector ?? {}) as Selector, labels),
      );
      return ((spec.endpoints ?? []) as { port?: string }[]).flatMap(({ port }, index) => {
        if (!port || matched.length === 0) return [];
        // A Service without the port is not scraped. That may be intended, for example for an additional headless Service.
        if (matched.some(({ ports }) => ports.some(({ name }) => name === port))) return [];
        const known = matched.map(describePorts).join("; ");
        return [
          problem(
            ["spec", "endpoints", index, "port"],
            `it selects no Service with a port named ${port}`,
            `name one: ${known}`,
          ),
        ];
      });
    }
    case "PodMonitor": {
      const matched = podsSeen(graph, manifest).filter(({ labels }) =>
        selects((spec.selector ?? {}) as Selector, labels),
      );
      return ((spec.podMetricsEndpoints ?? []) as { port?: string; portNumber?: number }[]).flatMap(
        ({ port, portNumber }, index) => {
          const wanted = port ?? portNumber;
          if (wanted === undefined || matched.length === 0 || matched.some(({ ports }) => has(ports, wanted)))
            return [];
          const known = list(matched.flatMap(({ ports }) => ports));
          return [
            problem(
              ["spec", "podMetricsEndpoints", index, "port"],
              `its pods have no port ${wanted}`,
              `name one of ${known}`,
            ),
          ];
        },
      );
    }
    default:
      return [];
  }
}

interface Backend {
  path: FieldPath;
  name: string;
  port: { name?: string; number?: number };
}

function backends(spec: Record<string, unknown>): Backend[] {
  const found: Backend[] = [];
  const walk = (value: unknown, path: FieldPath): void => {
    if (typeof value !== "object" || value === null) return;
    const { service } = value as { service?: { name: string; port?: Backend["port"] } };
    if (service?.port)
      found.push({ path: [...path, "service", "port"], name: service.name, port: service.port });
    for (const [key, field] of Object.entries(value))
      walk(field, [...path, Array.isArray(value) ? Number(key) : key]);
  };
  walk(spec, ["spec"]);
  return found;
}

function probes(source: Parameters<typeof containersOf>[0]): Problem[] {
  const { manifest } = source;
  return containersOf(source).flatMap(({ container, path }) => {
    const handlers: [
      string[],
      { httpGet?: { port: string | number }; tcpSocket?: { port: string | number } } | undefined,
    ][] = [
      [["startupProbe"], container.startupProbe],
      [["readinessProbe"], container.readinessProbe],
      [["livenessProbe"], container.livenessProbe],
      [["lifecycle", "postStart"], container.lifecycle?.postStart],
      [["lifecycle", "preStop"], container.lifecycle?.preStop],
    ];
    return handlers.flatMap(([fields, handler]) =>
      (["httpGet", "tcpSocket"] as const).flatMap((kind) => {
        const port = handler?.[kind]?.port;
        const ports = container.ports ?? [];
        if (typeof port !== "string" || has(ports, port)) return [];
        return [
          {
            manifest,
            path: [...path, ...fields, kind, "port"],
            message: `${describeObject(manifest.object)}: container ${container.name} has no port named ${port} for its ${fields.join(".")}`,
            fix: `name one of its ports: ${list(ports)}`,
          },
        ];
      }),
    );
  });
}
