/** Checks of istiod's webhook for the parts of the mesh's objects that `mesh.ts` does not check. */
import { isIP } from "node:net";
import { labelKey, labelValue, network } from "./formats.ts";
import { below, defect, isEmpty, list, mapping, texts, type Value } from "./read.ts";
import { regexFlaw } from "./regex.ts";
import type { Defect } from "./validator.ts";

/** A defect that the rule `mesh-valid` reports. */
export const flaw = (path: Defect["path"], message: string, fix: string): Defect =>
  defect(path, message, fix, "mesh-valid");

/** Checks a match, which has `exact`, `prefix` or `regex`. */
function matchFlaws(match: unknown, at: Defect["path"]): Defect[] {
  const { regex } = mapping(match);
  const wrong = typeof regex === "string" ? regexFlaw(regex) : undefined;
  return wrong === undefined
    ? []
    : [flaw([...at, "regex"], `${JSON.stringify(regex)} is not a valid regular expression (RE2)`, wrong)];
}

const among = (field: string, value: unknown, least: number, most: number): Defect[] =>
  typeof value !== "number" || (value >= least && value <= most)
    ? []
    : [flaw([field], `${value} is refused`, `write a number from ${least} to ${most}`)];

function httpRoute(route: Value): Defect[] {
  const { redirect, directResponse, rewrite, corsPolicy, fault, mirrorPercentage, delegate, match } = route;
  const isRouted = list(route.route).length > 0;
  const others = Object.entries({ redirect, directResponse, delegate }).filter(
    ([, content]) => content !== undefined,
  );
  return [
    ...others.flatMap(([field], index) =>
      isRouted || index > 0
        ? [
            flaw(
              [field],
              `cannot be combined with ${isRouted ? "route" : others[0]?.[0]}`,
              "keep one of them",
            ),
          ]
        : [],
    ),
    ...(redirect === undefined ? [] : below(["redirect"], redirectFlaws(mapping(redirect)))),
    ...below(["directResponse"], among("status", mapping(directResponse).status, 200, 599)),
    ...(rewrite === undefined ? [] : below(["rewrite"], rewriteFlaws(mapping(rewrite)))),
    ...below(["corsPolicy"], corsFlaws(mapping(corsPolicy))),
    ...(fault === undefined ? [] : below(["fault"], faultFlaws(mapping(fault)))),
    ...below(["mirrorPercentage"], among("value", mapping(mirrorPercentage).value, 0, 100)),
    ...list(match).flatMap((one, index) => below(["match", index], requestMatch(one))),
  ];
}

function requestMatch(match: Value): Defect[] {
  const single = ["uri", "scheme", "method", "authority"].flatMap((field) =>
    matchFlaws(match[field], [field]),
  );
  const many = ["headers", "queryParams", "withoutHeaders"].flatMap((field) =>
    Object.entries(mapping(match[field])).flatMap(([name, one]) => matchFlaws(one, [field, name])),
  );
  return [
    ...single,
    ...many,
    ...among("port", match.port, 1, 65_535),
    ...labelFlaws(match.sourceLabels, ["sourceLabels"]),
  ];
}

function redirectFlaws({ uri, authority, port, derivePort, scheme, redirectCode }: Value): Defect[] {
  const says = [uri, authority, port, derivePort, scheme].some((content) => !isEmpty(content));
  return [
    ...(says ? [] : [flaw([], "has no target", "write uri, authority, port or scheme")]),
    ...(redirectCode === undefined ||
    redirectCode === 0 ||
    (Number(redirectCode) >= 300 && Number(redirectCode) < 400)
      ? []
      : [
          flaw(
            ["redirectCode"],
            `${redirectCode} is not a redirect status`,
            "write 301, 302, 303, 307 or 308",
          ),
        ]),
  ];
}

function rewriteFlaws({ uri, authority, uriRegexRewrite }: Value): Defect[] {
  const { match, rewrite } = mapping(uriRegexRewrite);
  if ([uri, authority, uriRegexRewrite].every(isEmpty))
    return [flaw([], "has no settings", "write uri, authority or uriRegexRewrite")];
  if (uriRegexRewrite === undefined) return [];
  if (!isEmpty(uri)) return [flaw(["uriRegexRewrite"], "cannot be combined with uri", "remove one of them")];
  const wrong = regexFlaw(String(match ?? ""));
  if (isEmpty(match) || isEmpty(rewrite))
    return [flaw(["uriRegexRewrite"], "needs match and rewrite", "write both")];
  return wrong
    ? [
        flaw(
          ["uriRegexRewrite", "match"],
          `${JSON.stringify(match)} is not a valid regular expression`,
          wrong,
        ),
      ]
    : [];
}

function corsFlaws({ allowOrigins, allowMethods, maxAge }: Value): Defect[] {
  const methods = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "*"];
  return [
    ...list(allowOrigins).flatMap((one, index) => matchFlaws(one, ["allowOrigins", index])),
    ...texts(allowMethods).flatMap((method, index) =>
      methods.includes(method)
        ? []
        : [
            flaw(
              ["allowMethods", index],
              `${method} is not an HTTP method`,
              `write one of ${methods.join(", ")}`,
            ),
          ],
    ),
    ...(/\d(ms|us|ns)$/.test(String(maxAge)) && !/^(\d+000ms)$/.test(String(maxAge))
      ? [flaw(["maxAge"], `${maxAge} is not a whole number of seconds`, "write seconds")]
      : []),
  ];
}

const grpcStatuses = new Set(
  "OK CANCELLED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED NOT_FOUND ALREADY_EXISTS PERMISSION_DENIED RESOURCE_EXHAUSTED FAILED_PRECONDITION ABORTED OUT_OF_RANGE UNIMPLEMENTED INTERNAL UNAVAILABLE DATA_LOSS UNAUTHENTICATED".split(
    " ",
  ),
);

function faultFlaws({ delay, abort }: Value): Defect[] {
  const { httpStatus, grpcStatus, http2Error } = mapping(abort);
  return [
    ...(delay === undefined && abort === undefined
      ? [flaw([], "has no settings", "write delay or abort")]
      : []),
    ...(delay !== undefined && isEmpty(mapping(delay).fixedDelay)
      ? [flaw(["delay", "fixedDelay"], "is missing", "write a duration")]
      : []),
    ...(abort !== undefined && [httpStatus, grpcStatus, http2Error].every(isEmpty)
      ? [flaw(["abort", "httpStatus"], "is missing", "write httpStatus or grpcStatus")]
      : []),
    ...below(["abort"], among("httpStatus", httpStatus, 200, 600)),
    ...(typeof grpcStatus === "string" && !grpcStatuses.has(grpcStatus)
      ? [
          flaw(
            ["abort", "grpcStatus"],
            `there is no status ${grpcStatus}`,
            "write a value such as UNAVAILABLE",
          ),
        ]
      : []),
  ];
}

/** Finds what is wrong with labels, such as those of a subset or of a match. */
export function labelFlaws(value: unknown, at: Defect["path"]): Defect[] {
  return Object.entries(mapping(value)).flatMap(([key, text]) => {
    const fix = labelKey(key) ?? labelValue(text);
    return fix ? [flaw([...at, key], `${key}=${text} is not a valid label`, fix)] : [];
  });
}

function visibility(value: unknown): Defect[] {
  const all = texts(value);
  const at = (index: number): Defect["path"] => ["spec", "exportTo", index];
  return all.flatMap((text, index) => {
    if (all.indexOf(text) < index)
      return [flaw(at(index), `${text} is already in the list`, "remove one of them")];
    if (text === "*" && all.length > 1) return [flaw(at(index), "* is combined with others", "write only *")];
    return /^([.~*]|[a-z0-9]([-a-z0-9]*[a-z0-9])?)$/.test(text)
      ? []
      : [flaw(at(index), `${JSON.stringify(text)} is not a namespace`, "write a namespace, . or *")];
  });
}

function virtualService(spec: Value): Defect[] {
  return [
    ...visibility(spec.exportTo),
    ...list(spec.http).flatMap((route, index) => below(["spec", "http", index], httpRoute(route))),
    ...["tcp", "tls"].flatMap((kind) =>
      list(spec[kind]).flatMap(({ match }, index) =>
        list(match).flatMap(({ destinationSubnets }, place) =>
          texts(destinationSubnets)
            .filter((text) => isIP(text) === 0 && network(text) !== undefined)
            .map((text) =>
              flaw(
                ["spec", kind, index, "match", place, "destinationSubnets"],
                `${text} is not a network`,
                "write a value such as 10.0.0.0/8",
              ),
            ),
        ),
      ),
    ),
  ];
}

function clientTls({ mode, clientCertificate, privateKey, caCertificates, credentialName }: Value): Defect[] {
  const files = Object.entries({ clientCertificate, privateKey, caCertificates }).filter(
    ([, text]) => !isEmpty(text),
  );
  if (mode === "ISTIO_MUTUAL")
    return [...files.map(([field]) => field), ...(isEmpty(credentialName) ? [] : ["credentialName"])].map(
      (field) => flaw([field], "has no meaning with mode ISTIO_MUTUAL", "remove it"),
    );
  if (mode !== "MUTUAL") return [];
  if (!isEmpty(credentialName))
    return files.map(([field]) =>
      flaw([field], "cannot be combined with credentialName", "remove one of them"),
    );
  return Object.entries({ clientCertificate, privateKey })
    .filter(([, text]) => isEmpty(text))
    .map(([field]) => flaw([field], "is missing, but mode MUTUAL needs it", "write it, or credentialName"));
}

function policy(value: Value): Defect[] {
  const { tls, loadBalancer, portLevelSettings, tunnel } = value;
  return [
    ...below(["tls"], clientTls(mapping(tls))),
    ...below(
      ["loadBalancer", "localityLbSetting"],
      locality(mapping(mapping(loadBalancer).localityLbSetting)),
    ),
    ...list(portLevelSettings).flatMap((settings, index) =>
      below(
        ["portLevelSettings", index],
        [
          ...(isEmpty(mapping(settings.port).number)
            ? [flaw(["port"], "is missing", "write port with its number")]
            : below(["port"], among("number", mapping(settings.port).number, 1, 65_535))),
          ...below(["tls"], clientTls(mapping(settings.tls))),
        ],
      ),
    ),
    ...(typeof mapping(tunnel).protocol === "string" &&
    !["CONNECT", "POST", ""].includes(String(mapping(tunnel).protocol))
      ? [flaw(["tunnel", "protocol"], `there is no ${mapping(tunnel).protocol}`, "write CONNECT or POST")]
      : []),
  ];
}

function locality({ distribute, failover, failoverPriority }: Value): Defect[] {
  const set = Object.entries({ distribute, failover }).filter(([, content]) => !isEmpty(content));
  return [
    ...(set.length > 1 || (!isEmpty(distribute) && !isEmpty(failoverPriority))
      ? [flaw(["failover"], "cannot be combined with distribute", "remove one of them")]
      : []),
    ...list(distribute).flatMap(({ to }, index) => {
      const sum = Object.values(mapping(to)).reduce((total: number, share) => total + Number(share), 0);
      return sum === 100
        ? []
        : [flaw(["distribute", index, "to"], `has shares that sum to ${sum}`, "make them sum to 100")];
    }),
    ...list(failover).flatMap(({ from, to }, index) =>
      from === to
        ? [flaw(["failover", index, "to"], "is the region that it fails over from", "write another region")]
        : [],
    ),
  ];
}

function destinationRule(spec: Value): Defect[] {
  return [
    ...visibility(spec.exportTo),
    ...below(["spec", "trafficPolicy"], policy(mapping(spec.trafficPolicy))),
    ...list(spec.subsets).flatMap(({ trafficPolicy }, index) =>
      below(["spec", "subsets", index, "trafficPolicy"], policy(mapping(trafficPolicy))),
    ),
  ];
}

const versions = ["TLS_AUTO", "TLSV1_0", "TLSV1_1", "TLSV1_2", "TLSV1_3"];

function gateway({ servers }: Value): Defect[] {
  return list(servers).flatMap(({ port, tls, bind }, index) => {
    const protocol = String(mapping(port).protocol).toUpperCase();
    const { mode, credentialName, credentialNames, tlsCertificates, httpsRedirect, ...more } = mapping(tls);
    const { serverCertificate, privateKey, caCertificates, minProtocolVersion, maxProtocolVersion } = more;
    const isNamed = [credentialName, credentialNames, tlsCertificates].some((content) => !isEmpty(content));
    const serves = mode === "SIMPLE" || mode === "MUTUAL" || (mode === undefined && !isEmpty(tls));
    const isPlain = protocol === "HTTP" || protocol === "TCP" || protocol === "HTTP2" || protocol === "GRPC";
    const found: Defect[] = [];
    if (isPlain && isEmpty(httpsRedirect) && !isEmpty(tls))
      found.push(
        flaw(["tls"], `has no meaning for protocol ${protocol}`, "write protocol: HTTPS, or remove it"),
      );
    if (!isPlain && serves && !isNamed) {
      const missing = Object.entries({
        serverCertificate,
        privateKey,
        ...(mode === "MUTUAL" && { caCertificates }),
      });
      for (const [field, text] of missing)
        if (isEmpty(text)) found.push(flaw(["tls", field], "is missing", "write it, or credentialName"));
    }
    if (mode === "ISTIO_MUTUAL" && isNamed)
      found.push(flaw(["tls", "credentialName"], "has no meaning with mode ISTIO_MUTUAL", "remove it"));
    const [least, most] = [minProtocolVersion, maxProtocolVersion].map((text) =>
      versions.indexOf(String(text)),
    );
    if ((least ?? 0) > 0 && (most ?? 0) > 0 && (least ?? 0) > (most ?? 0))
      found.push(flaw(["tls", "maxProtocolVersion"], "is below minProtocolVersion", "raise it"));
    if (!isEmpty(bind) && isIP(String(bind)) === 0 && !String(bind).startsWith("unix://"))
      found.push(flaw(["bind"], `${bind} is not an address`, "write an IP address"));
    return below(["spec", "servers", index], found);
  });
}

function serviceEntry({
  hosts,
  ports,
  addresses,
  endpoints,
  resolution,
  workloadSelector,
  exportTo,
}: Value): Defect[] {
  const names = new Set(list(ports).map(({ name }) => String(name)));
  const all = list(endpoints);
  const noneOf = ["NONE", undefined, ""].includes(resolution as string | undefined);
  return [
    ...visibility(exportTo),
    ...texts(hosts).flatMap((host, index) =>
      /^(\*\.)?[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?$/.test(host)
        ? resolution === "DNS" && host.startsWith("*") && all.length === 0
          ? [
              flaw(
                ["spec", "hosts", index],
                `${host} cannot be resolved by DNS`,
                "write endpoints, or resolution: NONE",
              ),
            ]
          : []
        : [
            flaw(
              ["spec", "hosts", index],
              `${JSON.stringify(host)} is not a host`,
              "write a DNS name, or *.NAME",
            ),
          ],
    ),
    ...list(ports).flatMap(({ name, protocol }, index) => [
      ...(isEmpty(name) ? [flaw(["spec", "ports", index, "name"], "is empty", "name the port")] : []),
      ...(isEmpty(protocol) || protocols.test(String(protocol))
        ? []
        : [
            flaw(
              ["spec", "ports", index, "protocol"],
              `there is no protocol ${protocol}`,
              "write a value such as HTTP or TLS",
            ),
          ]),
    ]),
    ...texts(addresses)
      .filter((text) => isIP(text) === 0 && network(text) !== undefined)
      .map((text) =>
        flaw(["spec", "addresses"], `${text} is not an address`, "write an IP address or a network"),
      ),
    ...(resolution === "STATIC" && all.length === 0 && workloadSelector === undefined
      ? [flaw(["spec", "endpoints"], "is empty, but resolution STATIC needs it", "write one")]
      : []),
    ...(noneOf && all.length > 0
      ? [flaw(["spec", "endpoints"], "has no meaning with resolution NONE", "write STATIC or DNS")]
      : []),
    ...all.flatMap(({ address, ports: own, network: net, labels: tags }, index) => {
      const at = ["spec", "endpoints", index];
      const isAddress = isIP(String(address)) !== 0 || String(address).startsWith("unix://");
      const isHost = /^[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?$/.test(String(address));
      const isRight =
        isAddress || (/^DNS/.test(String(resolution)) && isHost) || (isEmpty(address) && !isEmpty(net));
      return [
        ...(isRight || noneOf
          ? []
          : [
              flaw(
                [...at, "address"],
                `${JSON.stringify(address) ?? "nothing"} is refused`,
                "write an IP address; a name needs resolution: DNS",
              ),
            ]),
        ...Object.keys(mapping(own))
          .filter((name) => !names.has(name))
          .map((name) =>
            flaw(
              [...at, "ports", name],
              "is not a port of spec.ports",
              `write one of ${[...names].join(", ")}`,
            ),
          ),
        ...labelFlaws(tags, [...at, "labels"]),
      ];
    }),
    ...labelFlaws(mapping(workloadSelector).labels, ["spec", "workloadSelector", "labels"]),
  ];
}

const protocols = /^(HTTP|HTTPS|GRPC|GRPC-WEB|HTTP2|MONGO|TCP|TLS|UDP|MYSQL|REDIS|HTTP_PROXY|HBONE)$/i;

const conditions =
  /^(request\.headers\[.+\]|source\.(ip|namespace|principal|serviceAccount)|remote\.ip|request\.auth\.(principal|audiences|presenter)|request\.auth\.claims(\[[^\]]+\])+|destination\.(ip|port)|connection\.sni|experimental\.envoy\.filters\.[^[]+\[.+\])$/;
const isNetwork = (text: string): boolean => isIP(text) !== 0 || network(text) === undefined;
const isPort = (text: string): boolean => /^\d+$/.test(text) && Number(text) >= 1 && Number(text) <= 65_535;

function pathTemplateFlaw(path: string): boolean {
  if (!/[{}]/.test(path)) return false;
  const parts = path.split("/");
  const deep = parts.indexOf("{**}");
  return parts.some((part, index) => {
    if (part === "{*}") return deep >= 0 && index > deep;
    if (part === "{**}") return index !== deep;
    return /[{}*]/.test(part);
  });
}

function authorization({ rules, action, provider }: Value): Defect[] {
  return [
    ...(action === "CUSTOM" && isEmpty(mapping(provider).name)
      ? [flaw(["spec", "provider"], "is missing, but action CUSTOM needs it", "write provider with its name")]
      : []),
    ...(action !== "CUSTOM" && provider !== undefined
      ? [flaw(["spec", "provider"], "is only for action CUSTOM", "write it, or remove the provider")]
      : []),
    ...(action === "DENY" || action === "CUSTOM" || action === "AUDIT"
      ? rules === undefined
        ? [
            flaw(
              ["spec", "rules"],
              `is missing: action ${action} then matches nothing`,
              "write rules; [{}] matches all",
            ),
          ]
        : []
      : []),
    ...list(rules).flatMap(({ from, to, when }, index) => {
      const at = ["spec", "rules", index];
      return [
        ...Object.entries({ from, to }).flatMap(([field, entries]) =>
          Array.isArray(entries) && entries.length === 0
            ? [flaw([...at, field], "is empty", "write an entry, or remove it")]
            : [],
        ),
        ...list(from).flatMap(({ source }, place) =>
          ["ipBlocks", "notIpBlocks", "remoteIpBlocks", "notRemoteIpBlocks"].flatMap((field) =>
            texts(mapping(source)[field])
              .filter((text) => !isNetwork(text))
              .map((text) =>
                flaw(
                  [...at, "from", place, "source", field],
                  `${text} is not a network`,
                  "write a value such as 10.0.0.0/8",
                ),
              ),
          ),
        ),
        ...list(to).flatMap(({ operation }, place) =>
          ["paths", "notPaths"].flatMap((field) =>
            texts(mapping(operation)[field])
              .filter(pathTemplateFlaw)
              .map((text) =>
                flaw(
                  [...at, "to", place, "operation", field],
                  `${text} is not a path template`,
                  "write {*} for a part and {**} at the end",
                ),
              ),
          ),
        ),
        ...list(when).flatMap(({ key, values, notValues }, place) => {
          const path = [...at, "when", place];
          if (isEmpty(key)) return [];
          if (!conditions.test(String(key)))
            return [
              flaw(
                [...path, "key"],
                `there is no ${key}`,
                "write a value such as request.headers[NAME] or source.ip",
              ),
            ];
          const check = /\.ip$/.test(String(key))
            ? isNetwork
            : key === "destination.port"
              ? isPort
              : () => true;
          return [...texts(values), ...texts(notValues)]
            .filter((text) => !check(text))
            .map((text) => flaw([...path, "values"], `${text} is refused for ${key}`, "correct it"));
        }),
      ];
    }),
  ];
}

function tokens({ jwtRules }: Value): Defect[] {
  return list(jwtRules).flatMap(({ jwksUri, jwks }, index) => {
    const at = ["spec", "jwtRules", index];
    const isUrl = /^https?:\/\/[^/]+/.test(String(jwksUri));
    return [
      ...(isEmpty(jwksUri) || isUrl
        ? []
        : [flaw([...at, "jwksUri"], `${jwksUri} is not a URL`, "write https://HOST/PATH")]),
      ...(isEmpty(jwks) || hasKeys(String(jwks))
        ? []
        : [flaw([...at, "jwks"], "is not a set of keys", 'write {"keys": [...]}')]),
    ];
  });
}

function hasKeys(text: string): boolean {
  try {
    return Array.isArray(mapping(JSON.parse(text)).keys);
  } catch {
    return false;
  }
}

const places: Record<string, string> = {
  CLUSTER: "cluster",
  LISTENER: "listener",
  FILTER_CHAIN: "listener",
  NETWORK_FILTER: "listener",
  HTTP_FILTER: "listener",
  ROUTE_CONFIGURATION: "routeConfiguration",
  VIRTUAL_HOST: "routeConfiguration",
  HTTP_ROUTE: "routeConfiguration",
};

function envoyFilter({ configPatches, workloadSelector }: Value): Defect[] {
  return [
    ...labelFlaws(mapping(workloadSelector).labels, ["spec", "workloadSelector", "labels"]),
    ...list(configPatches).flatMap(({ applyTo, match, patch }, index) => {
      const at = ["spec", "configPatches", index];
      const { operation, value } = mapping(patch);
      const wanted = places[String(applyTo)];
      const wrong = ["listener", "routeConfiguration", "cluster"].find(
        (field) => wanted !== undefined && field !== wanted && mapping(match)[field] !== undefined,
      );
      const { proxyVersion } = mapping(mapping(match).proxy);
      const regex = typeof proxyVersion === "string" ? regexFlaw(proxyVersion) : undefined;
      return [
        ...(wrong ? [flaw([...at, "match", wrong], `does not belong to ${applyTo}`, `write ${wanted}`)] : []),
        ...(patch !== undefined && isEmpty(operation)
          ? [flaw([...at, "patch", "operation"], "is missing", "write a value such as MERGE")]
          : []),
        ...(patch !== undefined && operation !== "REMOVE" && value === undefined
          ? [flaw([...at, "patch", "value"], "is missing", "write it")]
          : []),
        ...(regex
          ? [
              flaw(
                [...at, "match", "proxy", "proxyVersion"],
                `${proxyVersion} is not a valid regular expression`,
                regex,
              ),
            ]
          : []),
      ];
    }),
  ];
}

function sidecar({ egress, ingress }: Value): Defect[] {
  return [
    ...list(egress).flatMap(({ hosts }, index) =>
      texts(hosts).flatMap((host, place) =>
        texts(hosts).indexOf(host) < place
          ? [
              flaw(
                ["spec", "egress", index, "hosts", place],
                `${host} is already in the list`,
                "remove one of them",
              ),
            ]
          : [],
      ),
    ),
    ...list(ingress).flatMap(({ defaultEndpoint }, index) =>
      isEmpty(defaultEndpoint) ||
      /^((127\.0\.0\.1|0\.0\.0\.0|\[::1?\]):\d+|unix:\/\/.+)$/.test(String(defaultEndpoint))
        ? []
        : [
            flaw(
              ["spec", "ingress", index, "defaultEndpoint"],
              `${defaultEndpoint} is refused`,
              "write 127.0.0.1:PORT",
            ),
          ],
    ),
  ];
}

/** The checks in this file, by kind. */
export const partChecks: Record<string, (spec: Value) => Defect[]> = {
  VirtualService: virtualService,
  DestinationRule: destinationRule,
  Gateway: gateway,
  ServiceEntry: serviceEntry,
  AuthorizationPolicy: authorization,
  RequestAuthentication: tokens,
  EnvoyFilter: envoyFilter,
  Sidecar: sidecar,
};
