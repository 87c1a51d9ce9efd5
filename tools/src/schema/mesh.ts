/** Checks of istiod's webhook for the mesh's objects, beyond their schema. */
import { isIP } from "node:net";
import { isMapping, type KubernetesObject } from "../../../lib/object.ts";
import { flaw, labelFlaws, partChecks } from "./mesh-parts.ts";
import { isEmpty, list, mapping, texts, type Value } from "./read.ts";
import type { Defect } from "./validator.ts";

type Path = Defect["path"];

const part = /^[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?$/;
const isName = (text: string): boolean =>
  text.length <= 255 &&
  text
    .replace(/\.$/, "")
    .split(".")
    .every(
      (label, index, all) =>
        label.length <= 63 &&
        part.test(label) &&
        !(all.length > 1 && index === all.length - 1 && /^\d+$/.test(label)),
    );
const isAddress = (text: string): boolean => isIP(text) !== 0;

/** True for a host that may begin with an asterisk. */
const isHost = (text: string): boolean => {
  if (text === "*") return true;
  const rest = text.replace(/^\*[-.]?/, "");
  return rest !== "" && isName(rest) && !rest.includes("*");
};

function hostFlaws(host: unknown, path: Path, allowed: (text: string) => boolean = isHost): Defect[] {
  return typeof host === "string" && allowed(host)
    ? []
    : [
        flaw(
          path,
          `${JSON.stringify(host) ?? "nothing"} is not a host`,
          "write a DNS name, such as app or *.example",
        ),
      ];
}

function namespacedHosts(hosts: unknown, path: Path): Defect[] {
  return texts(hosts).flatMap((host, index) => {
    const parts = host.split("/");
    const [namespace = "", name = ""] = parts;
    const isRight =
      parts.length === 2 &&
      (/^[.~*]$/.test(namespace) || (isName(namespace) && !namespace.includes("."))) &&
      isHost(name);
    return isRight
      ? []
      : [
          flaw(
            [...path, index],
            `${JSON.stringify(host)} is not a host with a namespace`,
            "write NAMESPACE/HOST, such as ./* or shop/cart",
          ),
        ];
  });
}

const protocols = new Set([
  "HTTP",
  "HTTPS",
  "GRPC",
  "GRPC-WEB",
  "HTTP2",
  "MONGO",
  "TCP",
  "TLS",
  "UDP",
  "MYSQL",
  "REDIS",
  "HTTP_PROXY",
  "HBONE",
]);

function gateway({ servers }: Value): Defect[] {
  const names = new Set<string>();
  const all = list(servers);
  return [
    ...(all.length === 0 ? [flaw(["spec", "servers"], "is empty", "write a server")] : []),
    ...all.flatMap(({ port, hosts, tls }, index) => {
      const at = ["spec", "servers", index];
      const { name, number, protocol } = mapping(port);
      const found: Defect[] = [];
      if (typeof name !== "string" || name === "")
        found.push(flaw([...at, "port", "name"], "is missing", "name the port"));
      else if (names.has(name))
        found.push(
          flaw(
            [...at, "port", "name"],
            `another server's port is already named ${name}`,
            "give it another name",
          ),
        );
      names.add(String(name));
      if (typeof number !== "number" || number < 1 || number > 65_535)
        found.push(
          flaw([...at, "port", "number"], `${number} is not a port`, "write a number from 1 to 65535"),
        );
      if (!protocols.has(String(protocol).toUpperCase()))
        found.push(
          flaw(
            [...at, "port", "protocol"],
            `${protocol} is not a protocol`,
            `write one of ${[...protocols].join(", ")}`,
          ),
        );
      const isSecure = /^(HTTPS|TLS)$/i.test(String(protocol));
      if (isSecure && isEmpty(tls))
        found.push(flaw([...at, "tls"], `is missing, but ${protocol} needs it`, "write tls with a mode"));
      if (texts(hosts).length === 0) found.push(flaw([...at, "hosts"], "is empty", 'write a host, or "*"'));
      texts(hosts).forEach((host, place) => {
        const [first = "", second] = host.split("/");
        if (second !== undefined && !(first === "*" || first === "." || isName(first)))
          found.push(
            flaw([...at, "hosts", place], `${host} has no namespace in front`, "write NAMESPACE/HOST"),
          );
        found.push(...hostFlaws(second ?? first, [...at, "hosts", place]));
      });
      return found;
    }),
  ];
}

function virtualService(spec: Value): Defect[] {
  const hosts = texts(spec.hosts);
  const kinds = ["http", "tcp", "tls"] as const;
  const isDelegate = hosts.length === 0;
  return [
    ...hosts.flatMap((host, index) =>
      hostFlaws(host, ["spec", "hosts", index], (text) => isHost(text) || isAddress(text)),
    ),
    ...hosts.flatMap((host, index) =>
      hosts.indexOf(host) < index
        ? [flaw(["spec", "hosts", index], `${host} is already in the list`, "remove one of them")]
        : [],
    ),
    ...texts(spec.gateways).flatMap((name, index) => {
      const parts = name.split("/");
      const isRight = name === "mesh" || (parts.length <= 2 && parts.every((text) => isName(text)));
      return isRight
        ? []
        : [
            flaw(
              ["spec", "gateways", index],
              `${JSON.stringify(name)} is not the name of a Gateway`,
              "write NAME or NAMESPACE/NAME",
            ),
          ];
    }),
    ...(isDelegate && texts(spec.gateways).length > 0
      ? [
          flaw(
            ["spec", "hosts"],
            "is empty",
            "write a host; only a delegate has none, and that has no gateways either",
          ),
        ]
      : []),
    ...(isInMesh(spec) && hosts.includes("*")
      ? [
          flaw(
            ["spec", "hosts", hosts.indexOf("*")],
            "* is not a host in the mesh",
            "write hosts, or name a Gateway under gateways",
          ),
        ]
      : []),
    ...(kinds.every((kind) => list(spec[kind]).length === 0)
      ? [flaw(["spec"], "has no routes", "write http, tcp or tls")]
      : []),
    ...kinds.flatMap((kind) =>
      list(spec[kind]).flatMap((route, index) => routeFlaws(kind, route, ["spec", kind, index])),
    ),
  ];
}

const isInMesh = ({ gateways }: Value): boolean =>
  texts(gateways).length === 0 || texts(gateways).includes("mesh");

function routeFlaws(kind: string, value: Value, at: Path): Defect[] {
  const found: Defect[] = [];
  const routes = list(value.route);
  const others = ["redirect", "directResponse", "delegate"].filter((field) => value[field] !== undefined);
  if (routes.length === 0 && others.length === 0)
    found.push(
      flaw(
        [...at, "route"],
        "is missing",
        kind === "http" ? "write a route, a redirect, a directResponse or a delegate" : "write a route",
      ),
    );
  routes.forEach(({ destination, weight, headers }, index) => {
    const path = [...at, "route", index];
    if (destination === undefined)
      found.push(flaw([...path, "destination"], "is missing", "write the destination's host"));
    else found.push(...destinationFlaws(mapping(destination), [...path, "destination"]));
    if (typeof weight === "number" && weight < 0)
      found.push(flaw([...path, "weight"], `${weight} is below 0`, "write 0 or more"));
    found.push(...headerFlaws(headers, [...path, "headers"]));
  });
  const total = routes.reduce((sum, { weight }) => sum + Number(weight ?? 0), 0);
  if (routes.length > 1 && total === 0)
    found.push(flaw([...at, "route"], "has weights that sum to 0", "give each route a weight"));
  if (isMapping(value.mirror)) found.push(...destinationFlaws(value.mirror, [...at, "mirror"]));
  const { attempts, perTryTimeout, retryOn } = mapping(value.retries);
  if (typeof attempts === "number" && attempts < 0)
    found.push(flaw([...at, "retries", "attempts"], `${attempts} is below 0`, "write 0 or more"));
  if ((attempts ?? 0) === 0 && (perTryTimeout !== undefined || retryOn !== undefined))
    found.push(
      flaw(
        [...at, "retries"],
        "has settings but no attempts",
        "raise attempts, or remove perTryTimeout and retryOn",
      ),
    );
  if (typeof retryOn === "string") found.push(...retryFlaws(retryOn, [...at, "retries", "retryOn"]));
  found.push(...faultFlaws(mapping(value.fault), [...at, "fault"]));
  found.push(...headerFlaws(value.headers, [...at, "headers"]));
  for (const [index, match] of list(value.match).entries())
    found.push(...matchFlaws(match, [...at, "match", index]));
  return found;
}

function destinationFlaws({ host, subset, port }: Value, at: Path): Defect[] {
  const found = hostFlaws(host, [...at, "host"], (text) => isName(text) || isHost(text));
  if (typeof host === "string" && host === "*")
    found.push(flaw([...at, "host"], "* is not a destination", "write the name of a Service"));
  if (typeof subset === "string" && subset !== "" && !isSubset(subset))
    found.push(
      flaw(
        [...at, "subset"],
        `${JSON.stringify(subset)} is not a valid name`,
        "write letters, digits and dashes",
      ),
    );
  const { number } = mapping(port);
  if (typeof number === "number" && (number < 1 || number > 65_535))
    found.push(flaw([...at, "port", "number"], `${number} is not a port`, "write a number from 1 to 65535"));
  return found;
}

const isSubset = (text: string): boolean =>
  text.length <= 63 && /^[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?$/.test(text);

// https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/router_filter#x-envoy-retry-on, also for gRPC
const retryConditions = new Set(
  "5xx gateway-error reset reset-before-request connect-failure envoy-ratelimited retriable-4xx refused-stream retriable-status-codes retriable-headers http3-post-connect-failure cancelled deadline-exceeded internal resource-exhausted unavailable".split(
    " ",
  ),
);

function retryFlaws(text: string, path: Path): Defect[] {
  if (text === "") return [];
  return text
    .split(",")
    .map((condition) => condition.trim())
    .filter((condition) => !retryConditions.has(condition) && !/^[1-5]\d\d$/.test(condition))
    .map((condition) =>
      flaw(
        path,
        `${JSON.stringify(condition)} is not a retry condition`,
        "write one of Envoy's retry-on conditions, or a status",
      ),
    );
}

function faultFlaws({ delay, abort }: Value, at: Path): Defect[] {
  return Object.entries({ delay, abort }).flatMap(([field, fault]) => {
    const { percentage, percent } = mapping(fault);
    const { value } = mapping(percentage);
    return [value, percent]
      .filter((number) => typeof number === "number" && (number < 0 || number > 100))
      .map((number) =>
        flaw([...at, field, "percentage"], `${number} is not a percentage`, "write a number from 0 to 100"),
      );
  });
}

function headerFlaws(headers: unknown, at: Path): Defect[] {
  return Object.entries(mapping(headers)).flatMap(([side, operations]) =>
    ["set", "add"].flatMap((field) =>
      Object.keys(mapping(mapping(operations)[field]))
        .filter((name) => !/^[-!#$%&'*+.^_`|~0-9A-Za-z:]+$/.test(name))
        .map((name) =>
          flaw(
            [...at, side, field, name],
            `${JSON.stringify(name)} is not a header name`,
            "correct the name",
          ),
        ),
    ),
  );
}

function matchFlaws(match: Value, at: Path): Defect[] {
  return Object.entries(match).flatMap(([field, value]) => {
    const fields =
      field === "headers" || field === "queryParams"
        ? Object.entries(mapping(value))
        : [["", value] as const];
    return fields.flatMap(([name, condition]) => {
      const path = [...at, field, ...(name ? [name] : [])];
      if (field === "headers" && !/^[-!#$%&'*+.^_`|~0-9A-Za-z:]+$/.test(name))
        return [flaw(path, `${JSON.stringify(name)} is not a header name`, "correct the name")];
      const { prefix } = mapping(condition);
      if (prefix === "") return [flaw([...path, "prefix"], "is empty", "write a prefix")];
      return [];
    });
  });
}

function policyFlaws(policy: Value, at: Path): Defect[] {
  const { outlierDetection, connectionPool } = policy;
  const found: Defect[] = [];
  for (const field of ["maxEjectionPercent", "minHealthPercent"]) {
    const share = mapping(outlierDetection)[field];
    if (typeof share === "number" && (share < 0 || share > 100))
      found.push(
        flaw(
          [...at, "outlierDetection", field],
          `${share} is not a percentage`,
          "write a number from 0 to 100",
        ),
      );
  }
  for (const [protocol, settings] of Object.entries(mapping(connectionPool)))
    for (const [field, count] of Object.entries(mapping(settings)))
      if (typeof count === "number" && count < 0)
        found.push(
          flaw([...at, "connectionPool", protocol, field], `${count} is below 0`, "write 0 or more"),
        );
  if (isMapping(connectionPool) && connectionPool.tcp === undefined && connectionPool.http === undefined)
    found.push(flaw([...at, "connectionPool"], "has no settings", "write tcp or http, or remove it"));
  for (const [index, settings] of list(policy.portLevelSettings).entries())
    found.push(...policyFlaws(settings, [...at, "portLevelSettings", index]));
  return found;
}

function destinationRule(spec: Value): Defect[] {
  const names = new Set<string>();
  return [
    ...hostFlaws(spec.host, ["spec", "host"]),
    ...policyFlaws(mapping(spec.trafficPolicy), ["spec", "trafficPolicy"]),
    ...list(spec.subsets).flatMap(({ name, labels, trafficPolicy }, index) => {
      const at = ["spec", "subsets", index];
      const found = policyFlaws(mapping(trafficPolicy), [...at, "trafficPolicy"]);
      if (!isSubset(String(name ?? "")))
        found.push(
          flaw(
            [...at, "name"],
            `${JSON.stringify(name)} is not a valid name`,
            "write letters, digits and dashes",
          ),
        );
      if (names.has(String(name)))
        found.push(flaw([...at, "name"], `another subset is already named ${name}`, "give it another name"));
      names.add(String(name));
      return [...found, ...labelFlaws(labels, [...at, "labels"])];
    }),
  ];
}

function sidecar(spec: Value): Defect[] {
  const { egress, ingress } = spec;
  const listeners = list(egress);
  return [
    ...(["egress", "ingress", "outboundTrafficPolicy", "inboundConnectionPool"].every(
      (field) => spec[field] === undefined,
    )
      ? [flaw(["spec"], "has no settings", "write egress or ingress")]
      : []),
    ...(listeners.length === 0 && list(ingress).length === 0 && egress !== undefined
      ? [flaw(["spec", "egress"], "is empty", "write a listener with hosts")]
      : []),
    ...listeners.flatMap(({ hosts, port }, index) => [
      ...(texts(hosts).length === 0
        ? [flaw(["spec", "egress", index, "hosts"], "is empty", "write NAMESPACE/HOST")]
        : []),
      ...(port === undefined && index < listeners.length - 1
        ? [
            flaw(
              ["spec", "egress", index, "port"],
              "is missing, but only the last listener may omit it",
              "write a port, or put it last",
            ),
          ]
        : []),
      ...namespacedHosts(hosts, ["spec", "egress", index, "hosts"]),
    ]),
  ];
}

const isWhole = (value: unknown): boolean => Number.isInteger(value) && Number(value) >= 0;

function envoyFilter({ configPatches }: Value): Defect[] {
  return list(configPatches).flatMap(({ applyTo, patch }, index) => {
    const at = ["spec", "configPatches", index];
    return [
      ...(applyTo === undefined
        ? [flaw([...at, "applyTo"], "is missing", "write what the patch applies to, such as HTTP_FILTER")]
        : []),
      ...(patch === undefined
        ? [flaw([...at, "patch"], "is missing", "write the operation and its value")]
        : []),
      ...typeFlaws(mapping(patch).value, [...at, "patch", "value"]),
    ];
  });
}

// The URL of a typed_config names its type. Only Envoy knows the fields of the type.
function typeFlaws(value: unknown, at: Path): Defect[] {
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, content]) => {
    const path = [...at, Array.isArray(value) ? Number(key) : key];
    const isTyped = /^typed_?[cC]onfig$/.test(key) && isMapping(content);
    const url = isTyped ? content["@type"] : undefined;
    const isShare = key === "percentage" && !(isMapping(content) && isWhole(content.numerator ?? 0));
    const isText = key === "name" && typeof content !== "string";
    const isRight = typeof url === "string" && /^type\.googleapis\.com\/[\w.]+$/.test(url);
    return [
      ...(isTyped && !isRight
        ? [
            flaw(
              [...path, "@type"],
              `${JSON.stringify(url) ?? "nothing"} is not a type`,
              "write type.googleapis.com/ and the type's name",
            ),
          ]
        : []),
      ...(isShare
        ? [
            flaw(
              path,
              `${JSON.stringify(content)} is not a percentage that Envoy reads`,
              "write numerator, and denominator: HUNDRED",
            ),
          ]
        : []),
      ...(isText ? [flaw(path, `${JSON.stringify(content)} is not a valid name`, "write a text")] : []),
      ...typeFlaws(content, path),
    ];
  });
}

function authorization({ rules }: Value): Defect[] {
  return [
    ...list(rules).flatMap(({ from, to, when }, index) => {
      const at = ["spec", "rules", index];
      const found: Defect[] = [];
      for (const [field, entries, inner] of [
        ["from", from, "source"],
        ["to", to, "operation"],
      ] as const) {
        list(entries).forEach((entry, place) => {
          const content = mapping(entry[inner]);
          const path = [...at, field, place, inner];
          if (isEmpty(content))
            found.push(flaw(path, `${inner} is empty`, "write what it allows, or remove it"));
          for (const [name, values] of Object.entries(content)) {
            if (Array.isArray(values) && (values.length === 0 || values.includes("")))
              found.push(
                flaw([...path, name], "is empty or has an empty value", "write a value, or remove it"),
              );
            if (
              /^(notP|p)orts$/.test(name) &&
              texts(values).some((port) => !(Number(port) >= 1 && Number(port) <= 65_535))
            )
              found.push(
                flaw([...path, name], "contains a value that is not a port", "write numbers from 1 to 65535"),
              );
          }
        });
      }
      list(when).forEach(({ key, values, notValues }, place) => {
        if (isEmpty(values) && isEmpty(notValues))
          found.push(flaw([...at, "when", place], "has nothing to compare with", "write values"));
        if (key === undefined || key === "")
          found.push(flaw([...at, "when", place, "key"], "is missing", "write a key"));
      });
      return found;
    }),
  ];
}

function peers({ selector, portLevelMtls }: Value): Defect[] {
  const { matchLabels } = mapping(selector);
  return [
    ...(isMapping(portLevelMtls) && isEmpty(matchLabels)
      ? [flaw(["spec", "portLevelMtls"], "needs a selector", "write a selector, or remove it")]
      : []),
  ];
}

const checks: Record<string, (spec: Value) => Defect[]> = {
  Gateway: gateway,
  VirtualService: virtualService,
  DestinationRule: destinationRule,
  Sidecar: sidecar,
  EnvoyFilter: envoyFilter,
  AuthorizationPolicy: authorization,
  PeerAuthentication: peers,
};

/** Finds what istiod refuses in an object of the mesh. */
export function meshFlaws({ apiVersion, kind, spec }: KubernetesObject): Defect[] {
  if (!/^(networking|security)\.istio\.io\//.test(apiVersion)) return [];
  return [checks, partChecks].flatMap((table) => table[kind]?.(mapping(spec)) ?? []);
}
