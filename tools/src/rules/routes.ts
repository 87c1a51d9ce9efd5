import { describeObject, type FieldPath, type Manifest } from "../../../lib/object.ts";
import type { Graph } from "../graph.ts";
import type { Problem, Rule } from "./rule.ts";
import { describePorts, type KnownService, serviceOfHost, servicesOf } from "./services.ts";

interface Destination {
  host?: string;
  subset?: string;
  port?: { number?: number };
}

interface Route {
  route?: { destination?: Destination }[];
  mirror?: Destination;
}

export const routeResolves: Rule = {
  id: "route-resolves",
  summary: "Hosts, gateways, subsets and ports of the mesh exist",
  explanation: `Istio accepts a VirtualService whose gateway, host, subset or port does not exist, and answers with 404 or 503. The rule checks the
  gateways of a VirtualService and whether one of their servers accepts its hosts; the host, subset and port of each destination; hosts of
  a VirtualService in the mesh; the host of a DestinationRule; and servers of two Gateways with the same port number but different protocols.
  Hosts are Services (also those of operators and of istioctl) and ServiceEntries. A host that is neither a name in the cluster nor in any
  ServiceEntry is also a finding, because the mesh has no address for it.`,
  check: (graph) => [
    ...mesh(graph, "VirtualService").flatMap((manifest) => virtualService(graph, manifest)),
    ...mesh(graph, "DestinationRule").flatMap((manifest) => {
      const { host } = manifest.object.spec ?? {};
      return host && !resolves(graph, manifest, host)
        ? [unknownHost(graph, manifest, ["spec", "host"], host)]
        : [];
    }),
    ...clashingServers(graph),
  ],
};

const mesh = (graph: Graph, kind: string): Manifest[] =>
  graph
    .ofKind(kind)
    .filter(({ object, foreign }) => !foreign && object.apiVersion.startsWith("networking.istio.io/"));

function resolves(graph: Graph, { object }: Manifest, host: string): KnownService | boolean {
  if (host.includes("*")) return true;
  const entries = graph
    .ofKind("ServiceEntry")
    .flatMap((entry) => (entry.object.spec?.hosts ?? []) as string[]);
  return (
    serviceOfHost(graph, host, object.metadata.namespace ?? "") ??
    entries.some((entry) => accepts(entry, host))
  );
}

function unknownHost(graph: Graph, manifest: Manifest, path: FieldPath, host: string): Problem {
  const { namespace = "" } = manifest.object.metadata;
  const known = [...servicesOf(graph).values()]
    .filter((service) => service.namespace === namespace)
    .map(({ name }) => name);
  const fix =
    known.length > 0
      ? `write one of ${known.join(", ")}, or name.namespace`
      : "add the Service or a ServiceEntry";
  return { manifest, path, message: `${describeObject(manifest.object)}: no Service named ${host}`, fix };
}

function virtualService(graph: Graph, manifest: Manifest): Problem[] {
  const { spec = {}, metadata } = manifest.object;
  const own = describeObject(manifest.object);
  const gateways = (spec.gateways ?? ["mesh"]) as string[];
  const hosts = (spec.hosts ?? []) as string[];
  const found = gateways.map((name) => gatewayNamed(graph, name, metadata.namespace ?? ""));
  const problems: Problem[] = gateways.flatMap((name, index) =>
    name === "mesh" || found[index]
      ? []
      : [
          {
            manifest,
            path: ["spec", "gateways", index],
            message: `${own}: there is no Gateway ${name}`,
            fix: `write ${
              graph
                .ofKind("Gateway")
                .map(({ object }) => `${object.metadata.namespace}/${object.metadata.name}`)
                .join(" or ") || "the name of an existing one"
            }`,
          },
        ],
  );
  hosts.forEach((host, index) => {
    const served = found.flatMap(
      (gateway) => (gateway?.object.spec?.servers ?? []) as { hosts?: string[] }[],
    );
    const accepted = served.flatMap((server) =>
      (server.hosts ?? []).map((entry) => entry.replace(/^[^/]*\//, "")),
    );
    if (found.some(Boolean) && !accepted.some((entry) => accepts(entry, host) || accepts(host, entry))) {
      const message = `${own}: no server of its Gateways accepts host ${host}`;
      problems.push({
        manifest,
        path: ["spec", "hosts", index],
        message,
        fix: `write one of ${accepted.join(", ")}`,
      });
    }
    if (gateways.includes("mesh") && !resolves(graph, manifest, host))
      problems.push(unknownHost(graph, manifest, ["spec", "hosts", index], host));
  });
  for (const protocol of ["http", "tcp", "tls"]) {
    const routes = (spec[protocol] ?? []) as Route[];
    routes.forEach(({ route = [], mirror }, index) => {
      const at = ["spec", protocol, index];
      route.forEach(({ destination }, number) => {
        problems.push(
          ...destinationProblems(graph, manifest, destination ?? {}, [...at, "route", number, "destination"]),
        );
      });
      if (mirror) problems.push(...destinationProblems(graph, manifest, mirror, [...at, "mirror"]));
    });
  }
  return problems;
}

function destinationProblems(
  graph: Graph,
  manifest: Manifest,
  { host = "", subset, port }: Destination,
  path: FieldPath,
): Problem[] {
  const own = describeObject(manifest.object);
  const service = resolves(graph, manifest, host);
  if (!service) return [unknownHost(graph, manifest, [...path, "host"], host)];
  if (typeof service === "boolean") return [];
  const problems: Problem[] = [];
  const numbers = service.ports.map((known) => known.port);
  if (port?.number !== undefined && !numbers.includes(port.number)) {
    problems.push({
      manifest,
      path: [...path, "port", "number"],
      message: `${own}: ${host} has no port ${port.number}`,
      fix: `write one of its ports: ${describePorts(service)}`,
    });
  } else if (port === undefined && numbers.length > 1) {
    const message = `${own}: ${host} has several ports, but the destination names none`;
    problems.push({ manifest, path, message, fix: `add port.number: ${describePorts(service)}` });
  }
  if (subset !== undefined && !subsetsOf(graph, service).includes(subset)) {
    problems.push({
      manifest,
      path: [...path, "subset"],
      message: `${own}: no DestinationRule of ${host} has a subset ${subset}`,
      fix: `write one of ${subsetsOf(graph, service).join(", ") || "none: there are no subsets"}`,
    });
  }
  return problems;
}

function subsetsOf(graph: Graph, service: KnownService): string[] {
  return mesh(graph, "DestinationRule")
    .filter(
      ({ object }) =>
        serviceOfHost(graph, object.spec?.host ?? "", object.metadata.namespace ?? "") === service,
    )
    .flatMap(({ object }) => ((object.spec?.subsets ?? []) as { name: string }[]).map(({ name }) => name));
}

function gatewayNamed(graph: Graph, name: string, namespace: string): Manifest | undefined {
  const [first = "", second] = name.split("/");
  return second === undefined
    ? graph.find("Gateway", first, namespace)
    : graph.find("Gateway", second, first);
}

// `*` accepts every host, and `*.example` those that end in `.example`.
function accepts(pattern: string, host: string): boolean {
  if (pattern === "*" || pattern === host) return true;
  return pattern.startsWith("*.") && host.endsWith(pattern.slice(1));
}

function clashingServers(graph: Graph): Problem[] {
  const first = new Map<string, { protocol: string; who: string }>();
  return mesh(graph, "Gateway").flatMap((manifest) => {
    const { spec = {} } = manifest.object;
    const servers = (spec.servers ?? []) as { port?: { number: number; protocol: string } }[];
    return servers.flatMap(({ port }, index): Problem[] => {
      if (!port) return [];
      const key = `${JSON.stringify(spec.selector)} ${port.number}`;
      const earlier = first.get(key);
      if (!earlier) first.set(key, { protocol: port.protocol, who: describeObject(manifest.object) });
      if (!earlier || earlier.protocol === port.protocol) return [];
      const message = `${describeObject(manifest.object)}: port ${port.number} is ${port.protocol} here and ${earlier.protocol} in ${earlier.who}`;
      return [
        {
          manifest,
          path: ["spec", "servers", index, "port", "protocol"],
          message,
          fix: "give the port the same protocol in both",
        },
      ];
    });
  });
}
