/** Checks of the API server for several fields together, by the definition that has them. */
import { shortName } from "./fields.ts";
import { amountOf } from "./formats.ts";
import { kindFlaws } from "./kinds.ts";
import { podFlaws } from "./pods.ts";
import { defect, isEmpty, list, mapping, type Value } from "./read.ts";
import type { Defect } from "./validator.ts";

type Check = (value: Value) => Defect[];

/** Elements with the same key as an earlier element. */
function repeated(
  elements: Value[],
  keyOf: (element: Value) => string | undefined,
): { index: number; key: string }[] {
  const seen = new Set<string>();
  return elements.flatMap((element, index) => {
    const key = keyOf(element);
    if (key === undefined || key === "") return [];
    if (seen.has(key)) return [{ index, key }];
    seen.add(key);
    return [];
  });
}

function exactlyOne(value: Value, fields: string[], what: string): Defect[] {
  const found = fields.filter((field) => value[field] !== undefined && value[field] !== null);
  if (found.length === 1) return [];
  const message = found.length === 0 ? `${what} is missing` : `${found.join(" and ")} exclude each other`;
  return [defect(found.slice(1, 2), message, `write one of ${fields.join(", ")}`, "pod-valid")];
}

const needs = (value: Value, field: string, rule: NonNullable<Defect["rule"]> = "value-valid"): Defect[] =>
  isEmpty(value[field]) ? [defect([field], `${field} is empty`, `write ${field}`, rule)] : [];

function pod(value: Value): Defect[] {
  const containers = list(value.containers);
  const first = list(value.initContainers);
  const volumes = list(value.volumes);
  const known = new Set(volumes.map(({ name }) => String(name)));
  const all = [
    ...first.map((container, index) => ({ container, path: ["initContainers", index] })),
    ...containers.map((container, index) => ({ container, path: ["containers", index] })),
  ];
  return [
    ...needs(value, "containers", "pod-valid"),
    // The schema checks for duplicates inside each of the two lists, see entry-once.
    ...containers.flatMap(({ name }, index) =>
      first.some((other) => other.name === name)
        ? [
            defect(
              ["containers", index, "name"],
              `an init container is already named ${name}`,
              "give it another name",
              "pod-valid",
            ),
          ]
        : [],
    ),
    ...all.flatMap(({ container, path }) =>
      ["volumeMounts", "volumeDevices"].flatMap((field) =>
        list(container[field]).flatMap(({ name }, index) =>
          known.has(String(name)) || claims(value).has(String(name))
            ? []
            : [
                defect(
                  [...path, field, index, "name"],
                  `the pod has no volume ${name}`,
                  known.size > 0
                    ? `write one of ${[...known].join(", ")}, or add it to volumes`
                    : "add it to volumes",
                  "pod-valid",
                ),
              ],
        ),
      ),
    ),
    ...containers.flatMap((container, index) => containerKeeps(container, ["containers", index])),
    ...(value.hostNetwork === true
      ? all.flatMap(({ container, path }) =>
          list(container.ports).flatMap(({ containerPort, hostPort }, index) =>
            hostPort !== undefined && hostPort !== containerPort
              ? [
                  defect(
                    [...path, "ports", index, "hostPort"],
                    "differs from containerPort on the host's network",
                    "write the same number",
                    "pod-valid",
                  ),
                ]
              : [],
          ),
        )
      : []),
  ];
}

// A StatefulSet makes volumes from its claims, which are outside of the pod. `togetherFlaws` puts their names here.
const claimNames = new WeakMap<object, Set<string>>();
const claims = (spec: object): Set<string> => claimNames.get(spec) ?? new Set();

function containerKeeps(container: Value, path: Defect["path"]): Defect[] {
  const probes = ["readinessProbe", "livenessProbe", "startupProbe"];
  return probes.flatMap((field) => {
    const { successThreshold, terminationGracePeriodSeconds } = mapping(container[field]);
    const at = [...path, field];
    return [
      ...(field !== "readinessProbe" && Number(successThreshold ?? 1) > 1
        ? [
            defect(
              [...at, "successThreshold"],
              "is not 1",
              "write 1: only a readinessProbe may need more",
              "pod-valid",
            ),
          ]
        : []),
      ...(field === "readinessProbe" && terminationGracePeriodSeconds !== undefined
        ? [
            defect(
              [...at, "terminationGracePeriodSeconds"],
              "is only for liveness and startup probes",
              "remove it",
              "pod-valid",
            ),
          ]
        : []),
    ];
  });
}

function container(value: Value): Defect[] {
  const { allowPrivilegeEscalation, capabilities } = mapping(value.securityContext);
  const added = mapping(capabilities).add;
  // The rule pod-security checks privileged containers.
  const gains = Array.isArray(added) && added.includes("SYS_ADMIN");
  return [
    ...needs(value, "image", "pod-valid"),
    ...repeated(list(value.ports), ({ name }) => name as string | undefined).map(({ index, key }) =>
      defect(
        ["ports", index, "name"],
        `another port is already named ${key}`,
        "give it another name",
        "pod-valid",
      ),
    ),
    ...(gains && allowPrivilegeEscalation === false
      ? [
          defect(
            ["securityContext", "allowPrivilegeEscalation"],
            "is false for a container with the capability SYS_ADMIN",
            "remove SYS_ADMIN",
            "pod-valid",
          ),
        ]
      : []),
    ...(Array.isArray(value.envFrom)
      ? list(value.envFrom).flatMap((source, index) =>
          exactlyOne(source, ["configMapRef", "secretRef"], "the source").map((found) => ({
            ...found,
            path: ["envFrom", index, ...found.path],
          })),
        )
      : []),
  ];
}

function resources({ requests, limits }: Value): Defect[] {
  const [wanted, most] = [mapping(requests), mapping(limits)];
  const standard = /^(cpu|memory|ephemeral-storage|storage|hugepages-.+)$/;
  return [
    ...Object.entries(wanted).flatMap(([name, quantity]) => {
      const [low, high] = [amountOf(quantity), amountOf(most[name])];
      return low !== undefined && high !== undefined && low > high
        ? [
            defect(
              ["requests", name],
              `${quantity} is above the limit ${most[name]}`,
              "lower the request or raise the limit",
              "pod-valid",
            ),
          ]
        : [];
    }),
    ...(["requests", "limits"] as const).flatMap((field) =>
      Object.keys(field === "requests" ? wanted : most)
        .filter((name) => !standard.test(name) && !/^[a-z0-9.-]+\/[A-Za-z0-9._-]+$/.test(name))
        .map((name) =>
          defect(
            [field, name],
            "is not a resource",
            "write cpu, memory, ephemeral-storage or DOMAIN/NAME",
            "pod-valid",
          ),
        ),
    ),
  ];
}

const handlers = ["exec", "httpGet", "tcpSocket", "grpc"];

function environment(value: Value): Defect[] {
  if (value.valueFrom === undefined || value.valueFrom === null) return [];
  return [
    ...(isEmpty(value.value)
      ? []
      : [defect(["value"], "cannot be combined with valueFrom", "remove one of them", "pod-valid")]),
    ...exactlyOne(
      mapping(value.valueFrom),
      ["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"],
      "the source",
    ).map((found) => ({ ...found, path: ["valueFrom", ...found.path] })),
  ];
}

function volume(value: Value): Defect[] {
  const sources = Object.keys(value).filter((field) => field !== "name" && value[field] !== null);
  return sources.length > 1
    ? [
        defect(
          [sources[1] ?? ""],
          `${sources.join(" and ")} exclude each other`,
          "keep one of them",
          "pod-valid",
        ),
      ]
    : [];
}

function mount({ subPath, subPathExpr }: Value): Defect[] {
  const found: Defect[] = [];
  for (const [field, path] of Object.entries({ subPath, subPathExpr })) {
    if (typeof path !== "string" || path === "") continue;
    if (path.startsWith("/") || path.split("/").includes(".."))
      found.push(
        defect([field], "leaves its volume", "write a path below the volume, without ..", "pod-valid"),
      );
  }
  if (!isEmpty(subPath) && !isEmpty(subPathExpr))
    found.push(defect(["subPathExpr"], "cannot be combined with subPath", "remove one of them", "pod-valid"));
  return found;
}

function toleration({ key, operator = "Equal", value, effect, tolerationSeconds }: Value): Defect[] {
  return [
    ...(isEmpty(key) && operator !== "Exists"
      ? [
          defect(
            ["operator"],
            "is not Exists, and there is no key",
            "write the key, or operator: Exists",
            "pod-valid",
          ),
        ]
      : []),
    ...(operator === "Exists" && !isEmpty(value)
      ? [defect(["value"], "has no meaning with operator Exists", "remove it", "pod-valid")]
      : []),
    ...(tolerationSeconds !== undefined && effect !== "NoExecute"
      ? [
          defect(
            ["effect"],
            "is not NoExecute, but tolerationSeconds needs it",
            "write effect: NoExecute",
            "pod-valid",
          ),
        ]
      : []),
  ];
}

function requirement({ operator, values }: Value): Defect[] {
  const isSet = operator === "In" || operator === "NotIn";
  if (isSet && isEmpty(values))
    return [defect(["values"], `is empty, but ${operator} needs it`, "write values")];
  const isThere = operator === "Exists" || operator === "DoesNotExist";
  if (isThere && !isEmpty(values))
    return [defect(["values"], `has no meaning with operator ${operator}`, "remove it")];
  return isSet || isThere || ["Gt", "Lt"].includes(String(operator))
    ? []
    : [defect(["operator"], `there is no operator ${operator}`, "write In, NotIn, Exists or DoesNotExist")];
}

const podOf = (spec: Value): Value => mapping(mapping(spec.template).spec);

/** Checks a workload that keeps pods running: its selector must match its pods, which must be restarted. */
function keeper(value: Value): Defect[] {
  const selector = mapping(value.selector);
  const { restartPolicy = "Always", activeDeadlineSeconds } = podOf(value);
  const labels = mapping(mapping(mapping(value.template).metadata).labels);
  const { matchLabels, matchExpressions } = selector;
  const mismatch = Object.entries(mapping(matchLabels)).find(([key, label]) => labels[key] !== label);
  return [
    ...(isEmpty(matchLabels) && isEmpty(matchExpressions)
      ? [defect(["selector"], "is empty", "write the labels of its template under matchLabels")]
      : []),
    ...(mismatch
      ? [
          defect(
            ["selector", "matchLabels", mismatch[0]],
            `is not a label of its own template`,
            "correct the labels on one side",
          ),
        ]
      : []),
    ...(restartPolicy === "Always" || restartPolicy === ""
      ? []
      : [
          defect(
            ["template", "spec", "restartPolicy"],
            `is ${restartPolicy}`,
            "write Always: only a Job's pods may end",
            "pod-valid",
          ),
        ]),
    ...(activeDeadlineSeconds === undefined
      ? []
      : [
          defect(["template", "spec", "activeDeadlineSeconds"], "is only for Jobs", "remove it", "pod-valid"),
        ]),
  ];
}

const share = (value: unknown): number =>
  typeof value === "string" ? Number(value.replace("%", "")) : Number(value ?? Number.NaN);
const isNothing = (value: unknown): boolean => value === 0 || value === "0%";

function rollingUpdate(value: Value, path: Defect["path"]): Defect[] {
  const { maxSurge, maxUnavailable } = value;
  return [
    ...(typeof maxUnavailable === "string" && share(maxUnavailable) > 100
      ? [defect([...path, "maxUnavailable"], "is above 100%", "write at most 100%")]
      : []),
    ...(isNothing(maxSurge) && isNothing(maxUnavailable)
      ? [
          defect(
            [...path, "maxUnavailable"],
            "is 0, and so is maxSurge: no pod could be replaced",
            "raise one of them",
          ),
        ]
      : []),
  ];
}

function deployment(value: Value): Defect[] {
  const { type, rollingUpdate: rolling } = mapping(value.strategy);
  const { minReadySeconds = 0, progressDeadlineSeconds } = value;
  return [
    ...keeper(value),
    ...(type === "Recreate" && rolling !== undefined && rolling !== null
      ? [defect(["strategy", "rollingUpdate"], "has no meaning with type Recreate", "remove it")]
      : []),
    ...rollingUpdate(mapping(rolling), ["strategy", "rollingUpdate"]),
    ...(progressDeadlineSeconds !== undefined && Number(progressDeadlineSeconds) <= Number(minReadySeconds)
      ? [defect(["progressDeadlineSeconds"], "is not above minReadySeconds", "raise it")]
      : []),
  ];
}

function daemons(value: Value): Defect[] {
  const { rollingUpdate: rolling, type } = mapping(value.updateStrategy);
  const { maxSurge, maxUnavailable } = mapping(rolling);
  const both = !isNothing(maxSurge ?? 0) && !isNothing(maxUnavailable ?? 1);
  return [
    ...keeper(value),
    ...(type === "OnDelete"
      ? []
      : rollingUpdate({ maxSurge: maxSurge ?? 0, ...mapping(rolling) }, ["updateStrategy", "rollingUpdate"])),
    ...(both && maxSurge !== undefined
      ? [
          defect(
            ["updateStrategy", "rollingUpdate", "maxSurge"],
            "is above 0, and so is maxUnavailable",
            "set one of them to 0",
          ),
        ]
      : []),
  ];
}

function stateful(value: Value): Defect[] {
  return keeper(value);
}

function job(value: Value): Defect[] {
  const { restartPolicy } = podOf(value);
  return restartPolicy === "OnFailure" || restartPolicy === "Never"
    ? []
    : [
        defect(
          ["template", "spec", "restartPolicy"],
          `is ${restartPolicy ?? "Always"}`,
          "write OnFailure or Never: a Job's pods end",
          "pod-valid",
        ),
      ];
}

function service(value: Value): Defect[] {
  const ports = list(value.ports);
  const { type = "ClusterIP", clusterIP, externalName } = value;
  const isHeadless = clusterIP === "None";
  const withoutName = ports.length > 1 ? ports.findIndex(({ name }) => isEmpty(name)) : -1;
  return [
    ...(ports.length === 0 && !isHeadless && type !== "ExternalName"
      ? [defect(["ports"], "is empty", "write at least one port")]
      : []),
    ...(type === "ExternalName" && isEmpty(externalName)
      ? [defect(["externalName"], "is empty, but type ExternalName needs it", "write it")]
      : []),
    ...(isHeadless && type !== "ClusterIP" && type !== "ExternalName"
      ? [defect(["clusterIP"], `is None, but type ${type} cannot be headless`, "remove one of them")]
      : []),
    ...(withoutName >= 0
      ? [
          defect(
            ["ports", withoutName, "name"],
            "is missing, but several ports need names",
            "give each port a name",
          ),
        ]
      : []),
    ...repeated(ports, ({ name }) => name as string | undefined).map(({ index, key }) =>
      defect(["ports", index, "name"], `another port is already named ${key}`, "give it another name"),
    ),
    ...ports.flatMap(({ nodePort }, index) => {
      if (nodePort === undefined || nodePort === 0) return [];
      const at = ["ports", index, "nodePort"];
      if (type === "ClusterIP" || type === "ExternalName")
        return [defect(at, `has no meaning with type ${type}`, "write type: NodePort, or remove it")];
      return Number(nodePort) < 30_000 || Number(nodePort) > 32_767
        ? [defect(at, "is outside the range of node ports", "write a number from 30000 to 32767")]
        : [];
    }),
    ...repeated(ports, ({ nodePort, protocol = "TCP" }) =>
      nodePort ? `${nodePort}/${protocol}` : undefined,
    ).map(({ index, key }) =>
      defect(["ports", index, "nodePort"], `another port already has ${key}`, "write another number"),
    ),
  ];
}

function configMap({ data, binaryData }: Value): Defect[] {
  const both = Object.keys(mapping(data)).filter((key) => key in mapping(binaryData));
  const size = [data, binaryData]
    .flatMap((field) => Object.entries(mapping(field)))
    .reduce((sum, [key, text]) => sum + key.length + Buffer.byteLength(String(text)), 0);
  return [
    ...both.map((key) => defect(["binaryData", key], "is also a key of data", "remove one of them")),
    ...(size > 1024 * 1024 ? [defect(["data"], "has more than 1 MiB", "split it")] : []),
  ];
}

function claim(value: Value): Defect[] {
  const storage = mapping(mapping(value.resources).requests).storage;
  return [
    ...needs(value, "accessModes"),
    ...(storage === undefined || (amountOf(storage) ?? 1) <= 0
      ? [defect(["resources", "requests", "storage"], "is missing or 0", "write how much is needed")]
      : []),
  ];
}

function budget({ minAvailable, maxUnavailable }: Value): Defect[] {
  const found: Defect[] = [];
  if (minAvailable !== undefined && maxUnavailable !== undefined)
    found.push(defect(["maxUnavailable"], "cannot be combined with minAvailable", "remove one of them"));
  for (const [field, value] of Object.entries({ minAvailable, maxUnavailable }))
    if (typeof value === "string" && share(value) > 100)
      found.push(defect([field], "is above 100%", "write at most 100%"));
  return found;
}

const rbacGroup = "rbac.authorization.k8s.io";

function roleReference({ apiGroup, kind }: Value): Defect[] {
  return [
    ...(apiGroup === rbacGroup || isEmpty(apiGroup)
      ? []
      : [defect(["apiGroup"], `is not ${rbacGroup}`, `write ${rbacGroup}`)]),
    ...(kind === "Role" || kind === "ClusterRole"
      ? []
      : [defect(["kind"], "is not a kind of role", "write Role or ClusterRole")]),
  ];
}

function subject({ kind, apiGroup }: Value): Defect[] {
  if (kind === "ServiceAccount")
    return [
      ...(isEmpty(apiGroup) ? [] : [defect(["apiGroup"], "is not that of a ServiceAccount", "remove it")]),
    ];
  if (kind === "User" || kind === "Group")
    return apiGroup === rbacGroup || apiGroup === undefined
      ? []
      : [defect(["apiGroup"], `is not ${rbacGroup}`, `write ${rbacGroup}`)];
  return [defect(["kind"], "is not a kind of subject", "write ServiceAccount, User or Group")];
}

// In a RoleBinding a ServiceAccount needs no namespace: it is in the same one.
function clusterBinding(value: Value): Defect[] {
  return list(value.subjects).flatMap(({ kind, namespace }, index) =>
    kind === "ServiceAccount" && isEmpty(namespace)
      ? [defect(["subjects", index, "namespace"], "is missing", "write the ServiceAccount's namespace")]
      : [],
  );
}

const levels = ["privileged", "baseline", "restricted"];

function namespaceLabels({ metadata }: Value): Defect[] {
  return Object.entries(mapping(mapping(metadata).labels)).flatMap(([key, level]) =>
    /^pod-security\.kubernetes\.io\/(enforce|audit|warn)$/.test(key) && !levels.includes(String(level))
      ? [
          defect(
            ["metadata", "labels", key],
            `there is no level ${level}`,
            `write one of ${levels.join(", ")}`,
          ),
        ]
      : [],
  );
}

function policyRule(value: Value): Defect[] {
  const { resources: named, nonResourceURLs } = value;
  if (!isEmpty(nonResourceURLs))
    return [
      ...needs(value, "verbs"),
      ...(isEmpty(named)
        ? []
        : [defect(["nonResourceURLs"], "cannot be combined with resources", "write two rules")]),
    ];
  return [...needs(value, "verbs"), ...needs(value, "apiGroups"), ...needs(value, "resources")];
}

function role(value: Value): Defect[] {
  return list(value.rules).flatMap(({ nonResourceURLs }, index) =>
    isEmpty(nonResourceURLs)
      ? []
      : [defect(["rules", index, "nonResourceURLs"], "has no meaning in a namespace", "write a ClusterRole")],
  );
}

function policyPort({ port, endPort }: Value): Defect[] {
  return endPort !== undefined && (typeof port !== "number" || Number(endPort) < port)
    ? [defect(["endPort"], "is below port, or port is not a number", "write a port and an endPort above it")]
    : [];
}

function policyPeer({ ipBlock, podSelector, namespaceSelector }: Value): Defect[] {
  const others = podSelector !== undefined || namespaceSelector !== undefined;
  if (ipBlock !== undefined && others)
    return [
      defect(["ipBlock"], "cannot be combined with podSelector and namespaceSelector", "write two peers"),
    ];
  return ipBlock === undefined && !others
    ? [defect([], "a peer is empty", "write a podSelector, a namespaceSelector or an ipBlock")]
    : [];
}

const fieldPath =
  /^(metadata\.(name|namespace|uid|(labels|annotations)(\['.+'\])?)|spec\.(nodeName|serviceAccountName)|status\.(hostIPs?|podIPs?))$/;

const checks: Record<string, Check> = {
  "core.v1.ObjectFieldSelector": ({ fieldPath: path }) =>
    fieldPath.test(String(path))
      ? []
      : [
          defect(
            ["fieldPath"],
            `${path} is not a field that a pod can read`,
            "write a value such as metadata.name or status.podIP",
            "pod-valid",
          ),
        ],
  "core.v1.ConfigMapEnvSource": (value) => needs(value, "name", "pod-valid"),
  "core.v1.SecretEnvSource": (value) => needs(value, "name", "pod-valid"),
  "core.v1.ConfigMapKeySelector": (value) => needs(value, "name", "pod-valid"),
  "core.v1.SecretKeySelector": (value) => needs(value, "name", "pod-valid"),
  "core.v1.ConfigMapVolumeSource": (value) => needs(value, "name", "pod-valid"),
  "core.v1.SecretVolumeSource": (value) => needs(value, "secretName", "pod-valid"),
  "core.v1.PodSpec": pod,
  "core.v1.Container": container,
  "core.v1.ResourceRequirements": resources,
  "core.v1.Probe": (value) => exactlyOne(value, handlers, "the handler"),
  "core.v1.LifecycleHandler": (value) => exactlyOne(value, [...handlers.slice(0, 3), "sleep"], "the handler"),
  "core.v1.ExecAction": (value) => needs(value, "command", "pod-valid"),
  "core.v1.EnvVar": environment,
  "core.v1.Volume": volume,
  "core.v1.VolumeMount": mount,
  "core.v1.Toleration": toleration,
  "core.v1.NodeSelectorRequirement": requirement,
  "core.v1.NodeSelector": (value) => needs(value, "nodeSelectorTerms", "pod-valid"),
  "core.v1.ServiceSpec": service,
  "core.v1.ConfigMap": configMap,
  "core.v1.PersistentVolumeClaimSpec": claim,
  "core.v1.SeccompProfile": ({ type, localhostProfile }) =>
    (type === "Localhost") === isEmpty(localhostProfile)
      ? [
          defect(
            ["localhostProfile"],
            "is required for type Localhost, and allowed only there",
            "correct one of them",
            "pod-valid",
          ),
        ]
      : [],
  "meta.v1.LabelSelectorRequirement": (value) =>
    ["Gt", "Lt"].includes(String(value.operator))
      ? [
          defect(
            ["operator"],
            `there is no operator ${value.operator}`,
            "write In, NotIn, Exists or DoesNotExist",
          ),
        ]
      : requirement(value),
  "apps.v1.DeploymentSpec": deployment,
  "apps.v1.ReplicaSetSpec": keeper,
  "apps.v1.DaemonSetSpec": daemons,
  "apps.v1.StatefulSetSpec": stateful,
  "batch.v1.JobSpec": job,
  "policy.v1.PodDisruptionBudgetSpec": budget,
  "rbac.v1.RoleRef": roleReference,
  "rbac.v1.Subject": subject,
  "rbac.v1.ClusterRoleBinding": clusterBinding,
  "core.v1.Namespace": namespaceLabels,
  "rbac.v1.PolicyRule": policyRule,
  "rbac.v1.Role": role,
  "networking.v1.NetworkPolicyPort": policyPort,
  "networking.v1.NetworkPolicyPeer": policyPeer,
};

/** Finds what is wrong with a value of a definition. Paths begin at the value. */
export function togetherFlaws(definition: string, value: Value): Defect[] {
  const name = shortName(definition);
  if (name === "apps.v1.StatefulSetSpec") {
    const made = list(value.volumeClaimTemplates).map(({ metadata }) => String(mapping(metadata).name));
    const spec = podOf(value);
    claimNames.set(spec, new Set(made));
  }
  return [...(checks[name]?.(value) ?? []), ...podFlaws(name, value), ...kindFlaws(name, value)];
}
