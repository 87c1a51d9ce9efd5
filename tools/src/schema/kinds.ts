/** Checks of the API server for kinds other than workloads: scaling, entry points, Secrets, quotas, storage, webhooks. */
import * as formats from "./formats.ts";
import { amountOf } from "./formats.ts";
import { below, defect, fieldFlaw, isEmpty, list, mapping, texts, type Value } from "./read.ts";
import type { Defect } from "./validator.ts";

type Check = (value: Value) => Defect[];

const lowerFirst = (text: string): string => text.charAt(0).toLowerCase() + text.slice(1);

/** Checks that of several fields only the one that belongs to the value of `type` is set. */
function typed(value: Value, fields: string[]): Defect[] {
  const type = String(value.type ?? "");
  const wanted = /^[A-Z]/.test(type) ? lowerFirst(type) : "";
  const others = fields.filter((field) => field !== wanted && !isEmpty(value[field]));
  if (!fields.includes(wanted))
    return [
      defect(
        ["type"],
        `there is no type ${value.type}`,
        `write one of ${fields.map((field) => field.charAt(0).toUpperCase() + field.slice(1)).join(", ")}`,
      ),
    ];
  return [
    ...(isEmpty(value[wanted])
      ? [defect([wanted], `is missing, but type ${value.type} needs it`, `write ${wanted}`)]
      : []),
    ...others.map((field) => defect([field], `does not belong to type ${value.type}`, "remove it")),
  ];
}

function scaler({ minReplicas = 1, maxReplicas, behavior }: Value): Defect[] {
  const [least, most] = [Number(minReplicas), Number(maxReplicas)];
  return [
    // fields.ts checks that neither is below 1.
    ...(most >= 1 && most < least
      ? [defect(["maxReplicas"], `is below minReplicas, ${least}`, "raise maxReplicas or lower minReplicas")]
      : []),
    ...["scaleUp", "scaleDown"].flatMap((field) => {
      const rules = mapping(mapping(behavior)[field]);
      return below(["behavior", field], isEmpty(rules) ? [] : scalingRules(rules));
    }),
  ];
}

function scalingRules(rules: Value): Defect[] {
  const { policies, selectPolicy } = rules;
  const between = (most: number) => (value: unknown) =>
    Number(value) >= 1 && Number(value) <= most ? undefined : `write a number from 1 to ${most}`;
  return [
    ...fieldFlaw(rules, "stabilizationWindowSeconds", (value) =>
      Number(value) >= 0 && Number(value) <= 3600 ? undefined : "write a number from 0 to 3600",
    ),
    ...(Array.isArray(policies) && policies.length === 0
      ? [defect(["policies"], "is empty", "write a policy, or remove the list")]
      : []),
    ...(isEmpty(selectPolicy) || ["Max", "Min", "Disabled"].includes(String(selectPolicy))
      ? []
      : [defect(["selectPolicy"], `there is no ${selectPolicy}`, "write Max, Min or Disabled")]),
    ...list(policies).flatMap((policy, index) =>
      below(
        ["policies", index],
        [
          ...(["Pods", "Percent"].includes(String(policy.type))
            ? []
            : [defect(["type"], `there is no type ${policy.type}`, "write Pods or Percent")]),
          ...fieldFlaw(policy, "value", between(2_147_483_647)),
          ...fieldFlaw(policy, "periodSeconds", between(1800)),
        ],
      ),
    ),
  ];
}

const metricSources = ["object", "pods", "resource", "containerResource", "external"];

// The fields of the target that each source of a metric may set.
const targets: Record<string, string[]> = {
  object: ["value", "averageValue"],
  pods: ["averageValue"],
  resource: ["averageUtilization", "averageValue"],
  containerResource: ["averageUtilization", "averageValue"],
  external: ["value", "averageValue"],
};

function metric(value: Value): Defect[] {
  const found = typed(value, metricSources);
  if (found.length > 0) return found;
  const source = lowerFirst(String(value.type));
  const content = mapping(value[source]);
  const { type } = mapping(content.target);
  const set = (targets[source] ?? []).filter((field) => mapping(content.target)[field] !== undefined);
  return below(
    [source],
    [
      ...(["Utilization", "Value", "AverageValue"].includes(String(type))
        ? []
        : [
            defect(
              ["target", "type"],
              `there is no type ${type}`,
              "write Utilization, Value or AverageValue",
            ),
          ]),
      ...(set.length === 0
        ? [defect(["target"], "states no amount", `write ${targets[source]?.join(" or ")}`)]
        : []),
      ...(set.length > 1
        ? [defect(["target", set[1] ?? ""], `cannot be combined with ${set[0]}`, "remove one of them")]
        : []),
      ...(/esource$/.test(source) && isEmpty(content.name)
        ? [defect(["name"], "is empty", "write the resource, such as cpu")]
        : []),
      ...(source === "containerResource" && isEmpty(content.container)
        ? [defect(["container"], "is empty", "write the container's name")]
        : []),
      ...(!/esource$/.test(source) && isEmpty(mapping(content.metric).name)
        ? [defect(["metric", "name"], "is empty", "write the metric's name")]
        : []),
    ],
  );
}

/** Checks a host of an Ingress: a DNS name in lower case, which may begin with an asterisk and a dot. */
function hostFlaw(host: unknown): string | undefined {
  const text = String(host);
  if (text === "") return undefined;
  if (formats.address(text) === undefined) return "write a DNS name, not an address";
  return formats.dnsSubdomain(text.replace(/^\*\./, "")) === undefined
    ? undefined
    : "write a DNS name in lower case, or *.NAME, without a port";
}

function ingress(value: Value): Defect[] {
  const { rules, defaultBackend, tls } = value;
  return [
    ...(isEmpty(rules) && isEmpty(defaultBackend)
      ? [defect(["rules"], "is empty, and there is no defaultBackend", "write one of them")]
      : []),
    ...fieldFlaw(value, "ingressClassName", formats.dnsSubdomain),
    ...list(rules).flatMap((rule, index) => below(["rules", index], fieldFlaw(rule, "host", hostFlaw))),
    ...list(tls).flatMap(({ hosts }, index) =>
      texts(hosts).flatMap((host, place) =>
        below(["tls", index, "hosts"], fieldFlaw({ [place]: host }, String(place), hostFlaw)),
      ),
    ),
  ];
}

function ingressPath({ path, pathType }: Value): Defect[] {
  if (pathType === "ImplementationSpecific") return [];
  const text = String(path ?? "");
  const odd =
    ["//", "/./", "/../", "%2f", "%2F"].find((part) => text.includes(part)) ?? /\/\.\.?$/.exec(text)?.[0];
  // fields.ts checks that other paths begin with a slash.
  if (text === "") return [defect(["path"], "is empty", "start it with a slash")];
  return odd ? [defect(["path"], `contains ${odd}`, "write the path as clients request it")] : [];
}

function ingressBackend({ service, resource }: Value): Defect[] {
  if (service !== undefined && resource !== undefined)
    return [defect(["resource"], "cannot be combined with service", "remove one of them")];
  if (service === undefined && resource === undefined)
    return [defect(["service"], "is missing", "write service, or resource")];
  const { number, name } = mapping(mapping(service).port);
  if (service === undefined) return [];
  if (!isEmpty(name) && number)
    return [defect(["service", "port", "name"], "cannot be combined with number", "remove one")];
  return isEmpty(name) && !number
    ? [defect(["service", "port"], "is missing", "write port with a name or a number")]
    : below(["service"], fieldFlaw(mapping(service), "name", formats.dns1035));
}

const needed: Record<string, string[]> = {
  "kubernetes.io/tls": ["tls.crt", "tls.key"],
  "kubernetes.io/dockerconfigjson": [".dockerconfigjson"],
  "kubernetes.io/dockercfg": [".dockercfg"],
  "kubernetes.io/ssh-auth": ["ssh-privatekey"],
};

function secret({ type, data, stringData, metadata }: Value): Defect[] {
  const content = { ...mapping(data), ...mapping(stringData) };
  const { annotations } = mapping(metadata);
  const size = [
    ...Object.entries(mapping(data)).map(([key, text]) =>
      stringData && key in mapping(stringData) ? 0 : String(text).length * 0.75,
    ),
    ...Object.values(mapping(stringData)).map((text) => Buffer.byteLength(String(text))),
  ].reduce((sum, bytes) => sum + bytes, 0);
  const missing = (needed[String(type)] ?? []).filter((key) => content[key] === undefined);
  const json = Object.entries(mapping(stringData)).filter(([key]) =>
    /^\.dockercfg$|^\.dockerconfigjson$/.test(key),
  );
  return [
    ...(size > 1024 * 1024 ? [defect(["data"], "has more than 1 MiB", "split it")] : []),
    ...missing.map((key) => defect(["type"], `needs the key ${key}`, `add ${key}, or write type: Opaque`)),
    ...(type === "kubernetes.io/basic-auth" &&
    content.username === undefined &&
    content.password === undefined
      ? [defect(["type"], "needs the key username or password", "add one, or write type: Opaque")]
      : []),
    ...(type === "kubernetes.io/service-account-token" &&
    isEmpty(mapping(annotations)["kubernetes.io/service-account.name"])
      ? [
          defect(
            ["type"],
            "needs the annotation kubernetes.io/service-account.name",
            "add it with the ServiceAccount's name",
          ),
        ]
      : []),
    ...json
      .filter(
        ([key, text]) =>
          /^kubernetes\.io\/docker/.test(String(type)) &&
          needed[String(type)]?.includes(key) &&
          !isJson(String(text)),
      )
      .map(([key]) => defect(["stringData", key], "is not JSON", "write what docker login writes")),
  ];
}

function isJson(text: string): boolean {
  try {
    return typeof JSON.parse(text) === "object";
  } catch {
    return false;
  }
}

const standardQuota =
  /^((requests\.|limits\.)?(cpu|memory|storage|ephemeral-storage)|pods|services(\.loadbalancers|\.nodeports)?|replicationcontrollers|resourcequotas|secrets|configmaps|persistentvolumeclaims|(requests\.)?hugepages-.+)$/;
const counted =
  /^(pods|services(\.\w+)?|replicationcontrollers|resourcequotas|secrets|configmaps|persistentvolumeclaims|count\/.+)$/;

function quota({ hard, scopes }: Value): Defect[] {
  const exclusive = [
    ["BestEffort", "NotBestEffort"],
    ["Terminating", "NotTerminating"],
  ].find((pair) => pair.every((scope) => texts(scopes).includes(scope)));
  return [
    ...(exclusive ? [defect(["scopes"], `${exclusive.join(" and ")} exclude each other`, "remove one")] : []),
    ...Object.entries(mapping(hard)).flatMap(([name, quantity]) => {
      const amount = amountOf(quantity);
      if (!standardQuota.test(name) && !name.includes("/"))
        return [
          defect(
            ["hard", name],
            "is not a resource",
            "write a value such as requests.cpu, pods or count/KIND",
          ),
        ];
      if (amount === undefined) return [];
      return amount < 0 || (counted.test(name) && !Number.isInteger(amount))
        ? [
            defect(
              ["hard", name],
              `${quantity} is refused`,
              "write 0 or more, and a whole number for things that are counted",
            ),
          ]
        : [];
    }),
  ];
}

function limit({ type, max, min, default: usual, defaultRequest, maxLimitRequestRatio }: Value): Defect[] {
  const names = [max, min, usual, defaultRequest].flatMap((field) => Object.keys(mapping(field)));
  // No value may be above one that follows it.
  const order = { min, defaultRequest, default: usual, max };
  const fields = Object.entries(order);
  return [
    ...(["Container", "Pod", "PersistentVolumeClaim"].includes(String(type)) || String(type).includes("/")
      ? []
      : [defect(["type"], `there is no type ${type}`, "write Container, Pod or PersistentVolumeClaim")]),
    ...(type === "Pod"
      ? ["default", "defaultRequest"].flatMap((field) =>
          isEmpty(order[field as "default"])
            ? []
            : [defect([field], "has no meaning for type Pod", "remove it, or write type: Container")],
        )
      : []),
    ...(type === "PersistentVolumeClaim" && isEmpty(mapping(max).storage) && isEmpty(mapping(min).storage)
      ? [defect(["max"], "does not limit storage", "write max or min with storage")]
      : []),
    ...[...new Set(names)].flatMap((name) =>
      fields.flatMap(([lower, low], index) =>
        fields.slice(index + 1).flatMap(([upper, high]) => {
          const [less, more] = [amountOf(mapping(low)[name]), amountOf(mapping(high)[name])];
          return less !== undefined && more !== undefined && less > more
            ? [defect([lower, name], `is above ${upper}`, "lower it")]
            : [];
        }),
      ),
    ),
    ...Object.entries(mapping(maxLimitRequestRatio)).flatMap(([name, ratio]) =>
      (amountOf(ratio) ?? 1) < 1
        ? [defect(["maxLimitRequestRatio", name], `${ratio} is below 1`, "write 1 or more")]
        : [],
    ),
  ];
}

const claimFields = new Set([
  ...["accessModes", "capacity", "claimRef", "mountOptions", "nodeAffinity"],
  ...["persistentVolumeReclaimPolicy", "storageClassName", "volumeAttributesClassName", "volumeMode"],
]);

function persistentVolume(value: Value): Defect[] {
  const sources = Object.keys(value).filter((field) => !claimFields.has(field));
  const names = Object.keys(mapping(value.capacity));
  const storage = amountOf(mapping(value.capacity).storage);
  return [
    ...(isEmpty(value.accessModes) ? [defect(["accessModes"], "is empty", "write one")] : []),
    ...(names.join() === "storage" && (storage === undefined || storage > 0)
      ? []
      : [
          defect(
            ["capacity"],
            "must state the amount of storage, and nothing else",
            "write only capacity.storage",
          ),
        ]),
    ...(sources.length === 1
      ? []
      : [
          defect(
            sources.slice(1, 2),
            sources.length === 0
              ? "a volume's source is missing"
              : `${sources.join(" and ")} exclude each other`,
            "write one source, such as hostPath, nfs or csi",
          ),
        ]),
    ...(value.local !== undefined && isEmpty(value.nodeAffinity)
      ? [defect(["nodeAffinity"], "is missing, but a local volume needs it", "write the volume's node")]
      : []),
  ];
}

function claim({ accessModes }: Value): Defect[] {
  const alone = texts(accessModes).includes("ReadWriteOncePod") && texts(accessModes).length > 1;
  return [
    ...(alone
      ? [defect(["accessModes"], "ReadWriteOncePod cannot be combined with others", "remove the others")]
      : []),
  ];
}

function priorityClass({ value, metadata }: Value): Defect[] {
  const name = String(mapping(metadata).name);
  const own = ["system-node-critical", "system-cluster-critical"].includes(name);
  return [
    ...(!own && name.startsWith("system-")
      ? [
          defect(
            ["metadata", "name"],
            "begins with system-, which belongs to Kubernetes",
            "write another name",
          ),
        ]
      : []),
    ...(!own && Number(value) > 1_000_000_000
      ? [defect(["value"], "is above 1000000000", "lower it: higher values belong to Kubernetes")]
      : []),
  ];
}

function webhook(value: Value): Defect[] {
  const { admissionReviewVersions, clientConfig, sideEffects } = value;
  const { url, service } = mapping(clientConfig);
  const { path, port } = mapping(service);
  const address = typeof url === "string" && URL.canParse(url) ? new URL(url) : undefined;
  return [
    ...fieldFlaw(value, "name", (name) =>
      String(name).split(".").length >= 3
        ? formats.dnsSubdomain(name)
        : "write a name with at least two dots",
    ),
    ...(texts(admissionReviewVersions).some((version) => version === "v1" || version === "v1beta1")
      ? []
      : [defect(["admissionReviewVersions"], "has no version that Kubernetes sends", "write v1")]),
    ...(["None", "NoneOnDryRun"].includes(String(sideEffects))
      ? []
      : [defect(["sideEffects"], `there is no ${sideEffects}`, "write None or NoneOnDryRun")]),
    ...fieldFlaw(value, "timeoutSeconds", (seconds) =>
      Number(seconds) >= 1 && Number(seconds) <= 30 ? undefined : "write a number from 1 to 30",
    ),
    ...((url === undefined) === (service === undefined)
      ? [defect(["clientConfig"], "needs a url or a service, and not both", "write one of them")]
      : []),
    ...(url !== undefined && address?.protocol !== "https:"
      ? [defect(["clientConfig", "url"], "is not an https URL", "write https://HOST/PATH")]
      : []),
    ...(typeof path === "string" && path !== "" && !path.startsWith("/")
      ? [defect(["clientConfig", "service", "path"], "is not an absolute path", "start it with a slash")]
      : []),
    ...below(["clientConfig", "service"], fieldFlaw({ port }, "port", formats.portNumber)),
  ];
}

function webhookRule({ operations, resources, apiGroups, apiVersions }: Value): Defect[] {
  return [
    ...Object.entries({ operations, resources, apiGroups, apiVersions }).flatMap(([field, values]) => [
      ...(isEmpty(values) ? [defect([field], "is empty", "write a value")] : []),
      ...(field !== "resources" && texts(values).includes("*") && texts(values).length > 1
        ? [defect([field], "combines * with others", "write only *")]
        : []),
    ]),
  ];
}

function job(value: Value): Defect[] {
  const { completionMode, completions, backoffLimitPerIndex, maxFailedIndexes, podFailurePolicy } = value;
  const { selector, manualSelector, successPolicy, template } = value;
  const isIndexed = completionMode === "Indexed";
  const { restartPolicy } = mapping(mapping(template).spec);
  return [
    ...(isIndexed && completions === undefined && value.parallelism !== undefined
      ? [defect(["completions"], "is missing, but completionMode: Indexed needs it", "write completions")]
      : []),
    ...(isEmpty(selector) || manualSelector === true
      ? []
      : [defect(["selector"], "is made by Kubernetes", "remove it")]),
    ...(manualSelector === true && isEmpty(selector)
      ? [defect(["selector"], "is missing, but manualSelector needs it", "remove manualSelector")]
      : []),
    ...Object.entries({ backoffLimitPerIndex, successPolicy })
      .filter(([, content]) => content !== undefined && !isIndexed)
      .map(([field]) => defect([field], "needs completionMode: Indexed", "write it, or remove the field")),
    ...(maxFailedIndexes !== undefined && backoffLimitPerIndex === undefined
      ? [defect(["maxFailedIndexes"], "needs backoffLimitPerIndex", "write it, or remove the field")]
      : []),
    ...(podFailurePolicy !== undefined && restartPolicy !== "Never"
      ? [defect(["podFailurePolicy"], "needs restartPolicy: Never", "write it in the template")]
      : []),
    ...list(mapping(podFailurePolicy).rules).flatMap(({ onExitCodes }, index) => {
      const { operator, values } = mapping(onExitCodes);
      const at = ["podFailurePolicy", "rules", index, "onExitCodes", "values"];
      if (onExitCodes === undefined) return [];
      if (isEmpty(values)) return [defect(at, "is empty", "write exit codes")];
      return operator === "In" && (values as unknown[]).includes(0)
        ? [defect(at, "contains 0, which is not a failure", "remove it")]
        : [];
    }),
  ];
}

/** Checks fields that are only for some types of Services. */
function service(value: Value): Defect[] {
  const {
    type = "ClusterIP",
    sessionAffinity = "None",
    sessionAffinityConfig,
    clusterIP,
    clusterIPs,
  } = value;
  const seconds = mapping(mapping(sessionAffinityConfig).clientIP).timeoutSeconds;
  const outside = type === "NodePort" || type === "LoadBalancer" || !isEmpty(value.externalIPs);
  const only = (field: string, isRight: boolean, fix: string): Defect[] =>
    isRight || isEmpty(value[field]) ? [] : [defect([field], `has no meaning with type ${type}`, fix)];
  return [
    ...only("externalTrafficPolicy", outside, "write type: LoadBalancer or NodePort, or remove it"),
    ...["loadBalancerSourceRanges", "loadBalancerClass", "allocateLoadBalancerNodePorts"].flatMap((field) =>
      only(field, type === "LoadBalancer", "write type: LoadBalancer, or remove it"),
    ),
    ...only(
      "healthCheckNodePort",
      type === "LoadBalancer" && value.externalTrafficPolicy === "Local",
      "write externalTrafficPolicy: Local, or remove it",
    ),
    ...(sessionAffinity === "ClientIP" && typeof seconds === "number" && (seconds < 1 || seconds > 86_400)
      ? [
          defect(
            ["sessionAffinityConfig", "clientIP", "timeoutSeconds"],
            `${seconds} is refused`,
            "write 1 to 86400",
          ),
        ]
      : []),
    ...(!isEmpty(clusterIPs) && texts(clusterIPs)[0] !== (clusterIP ?? "")
      ? [defect(["clusterIPs"], "does not begin with clusterIP", "remove clusterIPs")]
      : []),
    ...["ipFamilies", "clusterIPs"].flatMap((field) =>
      texts(value[field]).flatMap((text, index, all) =>
        all.indexOf(text) < index
          ? [defect([field, index], `${text} is already in the list`, "remove one")]
          : [],
      ),
    ),
    ...fieldFlaw(value, "trafficDistribution", (text) =>
      ["PreferClose", "PreferSameZone", "PreferSameNode"].includes(String(text))
        ? undefined
        : "write PreferClose, PreferSameZone or PreferSameNode",
    ),
  ];
}

/** Checks that the expressions in a workload's selector match the labels of its own template. */
function selected({ selector, template }: Value): Defect[] {
  const labels = mapping(mapping(mapping(template).metadata).labels);
  return list(mapping(selector).matchExpressions).flatMap(({ key, operator, values }, index) => {
    const label = labels[String(key)];
    const isIn = label !== undefined && texts(values).includes(String(label));
    const holds: Record<string, boolean> = {
      In: isIn,
      NotIn: !isIn,
      Exists: label !== undefined,
      DoesNotExist: label === undefined,
    };
    return holds[String(operator)] === false
      ? [
          defect(
            ["selector", "matchExpressions", index],
            "excludes its own template",
            "correct the labels on one side",
          ),
        ]
      : [];
  });
}

const checks: Record<string, Check> = {
  "meta.v1.ObjectMeta": ({ annotations }) =>
    Object.entries(mapping(annotations)).reduce(
      (sum, [key, text]) => sum + key.length + String(text).length,
      0,
    ) > 262_144
      ? [defect(["annotations"], "have more than 256 KiB", "shorten them; server-side apply adds none")]
      : [],
  "apps.v1.DeploymentSpec": (value) => [
    ...selected(value),
    ...(value.progressDeadlineSeconds === undefined && Number(value.minReadySeconds ?? 0) >= 600
      ? [
          defect(
            ["minReadySeconds"],
            "is not below progressDeadlineSeconds, 600",
            "write progressDeadlineSeconds",
          ),
        ]
      : []),
  ],
  "apps.v1.DaemonSetSpec": selected,
  "apps.v1.ReplicaSetSpec": selected,
  "batch.v1.Job": ({ metadata }) =>
    String(mapping(metadata).name ?? "").length > 63
      ? [
          defect(
            ["metadata", "name"],
            "is longer than a label of its pods",
            "write at most 63 letters",
            "name-valid",
          ),
        ]
      : [],
  "rbac.v1.ClusterRole": ({ aggregationRule }) =>
    aggregationRule !== undefined && isEmpty(mapping(aggregationRule).clusterRoleSelectors)
      ? [defect(["aggregationRule", "clusterRoleSelectors"], "is empty", "write a selector")]
      : [],
  "rbac.v1.Subject": (value) =>
    value.kind === "ServiceAccount" && value.name !== ""
      ? fieldFlaw(value, "name", formats.dnsSubdomain, "name-valid")
      : [],
  "networking.v1.NetworkPolicySpec": ({ policyTypes }) =>
    texts(policyTypes).length > 2 ? [defect(["policyTypes"], "are more than two", "remove the others")] : [],
  "core.v1.ServiceSpec": service,
  "apps.v1.StatefulSetSpec": (value) => {
    const { type = "RollingUpdate", rollingUpdate } = mapping(value.updateStrategy);
    const { whenDeleted, whenScaled } = mapping(value.persistentVolumeClaimRetentionPolicy);
    return [
      ...selected(value),
      ...list(value.volumeClaimTemplates).flatMap((template, index) =>
        below(
          ["volumeClaimTemplates", index, "metadata"],
          fieldFlaw(mapping(template.metadata), "name", formats.dnsLabel, "name-valid"),
        ),
      ),
      ...(type === "OnDelete" && rollingUpdate !== undefined
        ? [defect(["updateStrategy", "rollingUpdate"], "has no meaning with type OnDelete", "remove it")]
        : []),
      ...Object.entries({ whenDeleted, whenScaled })
        .filter(([, text]) => !isEmpty(text) && text !== "Retain" && text !== "Delete")
        .map(([field, text]) =>
          defect(
            ["persistentVolumeClaimRetentionPolicy", field],
            `there is no ${text}`,
            "write Retain or Delete",
          ),
        ),
    ];
  },
  "core.v1.Namespace": ({ metadata }) =>
    Object.entries(mapping(mapping(metadata).labels)).flatMap(([key, text]) =>
      /^pod-security\.kubernetes\.io\/\w+-version$/.test(key) && !/^(latest|v1\.\d+)$/.test(String(text))
        ? [
            defect(
              ["metadata", "labels", key],
              `there is no version ${text}`,
              "write latest, or a version such as v1.36",
            ),
          ]
        : [],
    ),
  "autoscaling.v2.HorizontalPodAutoscalerSpec": scaler,
  "autoscaling.v2.MetricSpec": metric,
  "networking.v1.IngressSpec": ingress,
  "networking.v1.HTTPIngressRuleValue": ({ paths }) =>
    isEmpty(paths) ? [defect(["paths"], "is empty", "write a path")] : [],
  "networking.v1.HTTPIngressPath": ingressPath,
  "networking.v1.IngressBackend": ingressBackend,
  "networking.v1.IngressClassSpec": (value) =>
    fieldFlaw(value, "controller", (name) =>
      /^[^/]+\.[^/]+\/.+$/.test(String(name)) ? undefined : "write DOMAIN/NAME",
    ),
  "networking.v1.IPBlock": ipBlock,
  "core.v1.Secret": secret,
  "core.v1.ResourceQuotaSpec": quota,
  "core.v1.LimitRangeItem": limit,
  "core.v1.PersistentVolumeSpec": persistentVolume,
  "core.v1.PersistentVolumeClaimSpec": claim,
  "scheduling.v1.PriorityClass": priorityClass,
  "storage.v1.StorageClass": (value) => [
    ...fieldFlaw(value, "provisioner", (name) => formats.labelKey(String(name).toLowerCase())),
    ...fieldFlaw(value, "reclaimPolicy", (name) =>
      ["Delete", "Retain"].includes(String(name)) ? undefined : "write Delete or Retain",
    ),
  ],
  "admissionregistration.v1.ValidatingWebhook": webhook,
  "admissionregistration.v1.MutatingWebhook": webhook,
  "admissionregistration.v1.RuleWithOperations": webhookRule,
  "batch.v1.JobSpec": job,
};

/** Checks that the exceptions of a network are inside it. */
function ipBlock({ cidr, except }: Value): Defect[] {
  const whole = networkOf(String(cidr));
  if (!whole) return [];
  return texts(except).flatMap((text, index) => {
    const part = networkOf(text);
    const isInside =
      !part ||
      (part.isLong === whole.isLong &&
        part.length > whole.length &&
        part.bits.startsWith(whole.bits.slice(0, whole.length)));
    return isInside
      ? []
      : [defect(["except", index], `${text} is not part of ${cidr}`, "write a smaller network inside it")];
  });
}

function networkOf(text: string): { isLong: boolean; length: number; bits: string } | undefined {
  if (formats.network(text) !== undefined) return undefined;
  const [address = "", length = ""] = text.split("/");
  const isLong = address.includes(":");
  return { isLong, length: Number(length), bits: isLong ? longBits(address) : shortBits(address) };
}

const shortBits = (address: string): string =>
  address
    .split(".")
    .map((part) => Number(part).toString(2).padStart(8, "0"))
    .join("");

function longBits(address: string): string {
  // A URL has the canonical form, in which at most one `::` stands for zeros.
  const [head = "", tail = ""] = new URL(`http://[${address}]`).hostname.slice(1, -1).split("::");
  const [first, last] = [head, tail].map((side) => side.split(":").filter(Boolean));
  const zeros = Array.from({ length: 8 - (first?.length ?? 0) - (last?.length ?? 0) }, () => "0");
  return [...(first ?? []), ...zeros, ...(last ?? [])]
    .map((part) => Number.parseInt(part, 16).toString(2).padStart(16, "0"))
    .join("");
}

/** Finds what is wrong with a value of a definition. Paths begin at the value. */
export function kindFlaws(name: string, value: Value): Defect[] {
  return checks[name]?.(value) ?? [];
}
