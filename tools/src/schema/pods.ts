/** More checks of the API server for pods, besides those in `objects.ts`: for fields that people rarely set. */
import * as formats from "./formats.ts";
import { below, defect, fieldFlaw, isEmpty, list, mapping, texts, type Value } from "./read.ts";
import type { Defect } from "./validator.ts";

type Check = (value: Value) => Defect[];

const refused = (path: Defect["path"], message: string, fix: string): Defect =>
  defect(path, message, fix, "pod-valid");

function pod(value: Value): Defect[] {
  const { dnsPolicy, dnsConfig, initContainers, containers, terminationGracePeriodSeconds } = value;
  const ports = list(containers).flatMap((container, index) =>
    list(container.ports).flatMap(({ hostPort, protocol = "TCP", hostIP = "0.0.0.0" }, place) =>
      hostPort
        ? [
            {
              key: `${protocol} ${hostIP}:${hostPort}`,
              path: ["containers", index, "ports", place, "hostPort"],
            },
          ]
        : [],
    ),
  );
  const grace = Number(terminationGracePeriodSeconds ?? 30);
  return [
    ...(dnsPolicy === "None" && isEmpty(mapping(dnsConfig).nameservers)
      ? [refused(["dnsConfig", "nameservers"], "is empty, but dnsPolicy None needs it", "write one")]
      : []),
    ...ports.flatMap(({ key, path }, index) =>
      ports.findIndex((other) => other.key === key) < index
        ? [refused(path, `${key} of the host is already taken`, "write another port")]
        : [],
    ),
    ...list(initContainers).flatMap((container, index) =>
      below(["initContainers", index], initial(container)),
    ),
    ...list(containers).flatMap((container, index) =>
      container.restartPolicy === undefined ||
      ["Always", "OnFailure", "Never"].includes(String(container.restartPolicy))
        ? []
        : [
            refused(
              ["containers", index, "restartPolicy"],
              `there is no ${container.restartPolicy}`,
              "write Always, OnFailure or Never",
            ),
          ],
    ),
    ...[...list(containers), ...list(initContainers)].flatMap(({ name, lifecycle }) => {
      const { seconds } = mapping(mapping(mapping(lifecycle).preStop).sleep);
      return typeof seconds === "number" && (seconds < 0 || seconds > grace)
        ? [
            refused(
              [],
              `container ${name} sleeps ${seconds} s before it ends, but the pod has only ${grace} s`,
              "write 0 to terminationGracePeriodSeconds",
            ),
          ]
        : [];
    }),
    ...(isEmpty(value.ephemeralContainers)
      ? []
      : [refused(["ephemeralContainers"], "can only be added to running pods", "remove them")]),
    ...fieldFlaw(mapping(value.os), "name", (name) =>
      ["linux", "windows"].includes(String(name)) ? undefined : "write linux or windows",
    ).map((found) => ({ ...found, path: ["os", ...found.path] })),
  ];
}

/** Checks an init container, which runs to completion unless restartPolicy: Always makes it a sidecar. */
function initial(value: Value): Defect[] {
  const stays = value.restartPolicy === "Always";
  return ["livenessProbe", "readinessProbe", "startupProbe", "lifecycle"]
    .filter((field) => !stays && !isEmpty(value[field]))
    .map((field) =>
      refused(
        [field],
        "has no meaning for a container that runs to completion",
        "write restartPolicy: Always, or remove it",
      ),
    );
}

function spread({ minDomains, whenUnsatisfiable, labelSelector, matchLabelKeys }: Value): Defect[] {
  return [
    ...(minDomains !== undefined && whenUnsatisfiable !== "DoNotSchedule"
      ? [refused(["minDomains"], "needs whenUnsatisfiable: DoNotSchedule", "write it, or remove minDomains")]
      : []),
    ...(!isEmpty(matchLabelKeys) && labelSelector === undefined
      ? [refused(["matchLabelKeys"], "needs a labelSelector", "write it, or remove matchLabelKeys")]
      : []),
  ];
}

/** Checks a term for node labels. The operators Gt and Lt need exactly one number. */
function nodeTerm({ matchExpressions, matchFields }: Value): Defect[] {
  return [
    ...list(matchExpressions).flatMap(({ operator, values }, index) => {
      const at = ["matchExpressions", index, "values"];
      if (operator !== "Gt" && operator !== "Lt") return [];
      return texts(values).length === 1
        ? []
        : [refused(at, `is not exactly one number, but ${operator} needs that`, "write one number")];
    }),
    ...list(matchFields).flatMap(({ key, operator, values }, index) => [
      ...(key === "metadata.name"
        ? []
        : [refused(["matchFields", index, "key"], `${key} is not a field of a node`, "write metadata.name")]),
      ...((operator === "In" || operator === "NotIn") && texts(values).length === 1
        ? []
        : [
            refused(
              ["matchFields", index],
              "must compare with exactly one name",
              "write In or NotIn, and one name",
            ),
          ]),
    ]),
  ];
}

function dns({ nameservers, searches, options }: Value): Defect[] {
  return [
    ...(texts(nameservers).length > 3
      ? [refused(["nameservers"], "are more than 3", "write at most 3")]
      : []),
    ...texts(nameservers).flatMap((text, index) =>
      below(["nameservers"], fieldFlaw({ [index]: text }, String(index), formats.address, "pod-valid")),
    ),
    ...texts(searches).flatMap((text, index) => {
      const name = text.replace(/\.$/, "").replaceAll("_", "a");
      return text === "." || formats.dnsSubdomain(name) === undefined
        ? []
        : [refused(["searches", index], `${JSON.stringify(text)} is not a DNS name`, "write one")];
    }),
    ...list(options).flatMap(({ name }, index) =>
      isEmpty(name) ? [refused(["options", index, "name"], "is empty", "write it")] : [],
    ),
  ];
}

function sources({ sources: all }: Value): Defect[] {
  const seen = new Set<string>();
  return list(all).flatMap((source, index) => {
    const names = Object.keys(source);
    const paths = Object.values(source).flatMap((part) => [
      ...list(mapping(part).items).map(({ path }) => String(path)),
      ...(mapping(part).expirationSeconds !== undefined || "audience" in mapping(part)
        ? [String(mapping(part).path)]
        : []),
    ]);
    const taken = paths.filter((path) => seen.has(path));
    for (const path of paths) seen.add(path);
    return [
      ...(names.length > 1
        ? [
            refused(
              ["sources", index, names[1] ?? ""],
              `cannot be combined with ${names[0]}`,
              "write two sources",
            ),
          ]
        : []),
      ...taken.map((path) =>
        refused(["sources", index], `the path ${path} is already taken`, "write another"),
      ),
    ];
  });
}

const downward = /^metadata\.(name|namespace|uid|labels|annotations|(labels|annotations)\['.+'\])$/;

function downwardFile({ fieldRef, resourceFieldRef }: Value): Defect[] {
  const { fieldPath } = mapping(fieldRef);
  if ((fieldRef === undefined) === (resourceFieldRef === undefined))
    return [refused([], "needs fieldRef or resourceFieldRef, and not both", "write one of them")];
  return fieldRef === undefined || downward.test(String(fieldPath))
    ? []
    : [
        refused(
          ["fieldRef", "fieldPath"],
          `${fieldPath} is not a field for a file`,
          "write a value such as metadata.labels",
        ),
      ];
}

const divisors: Record<string, RegExp> = {
  cpu: /^(0|1|1m)$/,
  memory: /^(0|1|1[kMGTPE]|1[KMGTPE]i)$/,
  "ephemeral-storage": /^(0|1|1[kMGTPE]|1[KMGTPE]i)$/,
};

function resourceField({ resource, divisor = "0" }: Value): Defect[] {
  const [, name = ""] = /^(?:limits|requests)\.(.+)$/.exec(String(resource)) ?? [];
  const known = divisors[name.startsWith("hugepages-") ? "memory" : name];
  if (!known)
    return [refused(["resource"], `there is no ${resource}`, "write a value such as limits.memory")];
  return known.test(String(divisor))
    ? []
    : [refused(["divisor"], `${divisor} is refused`, "write 1, 1m for cpu, or a unit such as 1Mi")];
}

function resources({ requests, limits }: Value): Defect[] {
  const [wanted, most] = [mapping(requests), mapping(limits)];
  const names = [...new Set([...Object.keys(wanted), ...Object.keys(most)])];
  const alone = names.every((name) => name.startsWith("hugepages-"));
  return names.flatMap((name) => {
    const field = most[name] === undefined ? "requests" : "limits";
    const value = String(most[name] ?? wanted[name]);
    const amount = formats.amountOf(value) ?? 0;
    const isExtended = name.includes("/");
    if (name === "storage")
      return [refused([field, name], "is the resource of a volume", "write ephemeral-storage")];
    if (name.startsWith("hugepages-"))
      return alone ? [refused([field, name], "needs cpu or memory as well", "add one of them")] : [];
    if (!isExtended) return [];
    if (!Number.isInteger(amount))
      return [refused([field, name], `${value} is not a whole number`, "write a whole number")];
    if (most[name] === undefined)
      return [refused(["requests", name], "has no limit", "write the same number under limits")];
    return wanted[name] !== undefined && formats.amountOf(wanted[name]) !== amount
      ? [refused(["requests", name], "differs from its limit", "write the same number")]
      : [];
  });
}

const sysctl = /^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$/;

function podSecurity({ sysctls }: Value): Defect[] {
  return list(sysctls).flatMap(({ name }, index) => {
    const isRight = sysctl.test(String(name)) && String(name).length <= 253;
    const first = list(sysctls).findIndex((other) => other.name === name);
    if (!isRight)
      return [
        refused(["sysctls", index, "name"], `${JSON.stringify(name)} is not a valid name`, "correct it"),
      ];
    return first < index ? [refused(["sysctls", index], `${name} is already in the list`, "remove one")] : [];
  });
}

const checks: Record<string, Check> = {
  "core.v1.PodSpec": pod,
  "core.v1.TopologySpreadConstraint": spread,
  "core.v1.NodeSelectorTerm": nodeTerm,
  "core.v1.PodDNSConfig": dns,
  "core.v1.ProjectedVolumeSource": sources,
  "core.v1.DownwardAPIVolumeFile": downwardFile,
  "core.v1.ResourceFieldSelector": resourceField,
  "core.v1.ResourceRequirements": resources,
  "core.v1.PodSecurityContext": podSecurity,
  "core.v1.AppArmorProfile": ({ type, localhostProfile }) =>
    (type === "Localhost") === isEmpty(localhostProfile)
      ? [
          refused(
            ["localhostProfile"],
            "is required for type Localhost, and allowed only there",
            "correct one of them",
          ),
        ]
      : [],
  "core.v1.NFSVolumeSource": (value) => fieldFlaw(value, "path", formats.absolutePath, "pod-valid"),
  "core.v1.EphemeralVolumeSource": ({ volumeClaimTemplate }) =>
    isEmpty(volumeClaimTemplate) ? [refused(["volumeClaimTemplate"], "is missing", "write it")] : [],
  "core.v1.KeyToPath": ({ path }) =>
    String(path).startsWith("/") ? [refused(["path"], "is absolute", "write a path below the volume")] : [],
  "core.v1.HTTPHeader": (value) =>
    fieldFlaw(
      value,
      "name",
      (name) => (/^[-A-Za-z0-9]+$/.test(String(name)) ? undefined : "write letters, digits and dashes"),
      "pod-valid",
    ),
};

/** Finds what is wrong with a value of a definition. Paths begin at the value. */
export function podFlaws(name: string, value: Value): Defect[] {
  return checks[name]?.(value) ?? [];
}
