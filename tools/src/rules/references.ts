import { describeObject, type FieldPath, groupOf, type Manifest } from "../../../lib/object.ts";
import { bootstrap } from "../../../lib/render/cluster.ts";
import type { Graph } from "../graph.ts";
import { podsOf } from "./pods.ts";
import type { Problem, Rule } from "./rule.ts";
import { servicesOf } from "./services.ts";

interface Reference {
  kind: string;
  name: string;
  namespace: string;
  path: FieldPath;
  key?: string;
}

// The controllers of Kubernetes and Istio create these objects in every namespace.
const everywhere = new Set([
  "ConfigMap kube-root-ca.crt",
  "ConfigMap istio-ca-root-cert",
  "ServiceAccount default",
]);

export const referenceResolves: Rule = {
  id: "reference-resolves",
  summary: "Objects that are referred to by name exist",
  explanation: `A pod whose ConfigMap, Secret, key, claim or ServiceAccount does not exist stays in CreateContainerConfigError or is never
  created. The rule checks the references of pods (environment, volumes, projected volumes, claims, service account, pull secrets), roles and
  subjects of bindings, the Service of a StatefulSet, the target of a HorizontalPodAutoscaler, and Services and Secrets of an Ingress.
  Optional references, built-in roles (system:*, cluster-admin, admin, edit, view) and objects that every namespace gets are exempt. A
  Secret may also come from an ExternalSecret, a SealedSecret or a Certificate. Objects that deploy.sh applies are not checked, because it
  also makes Secrets.`,
  check: (graph) => [
    ...podsOf(graph).flatMap(({ source }) =>
      source && !source.manifest.foreign && source.manifest.application !== bootstrap
        ? unresolved(graph, source.manifest, podReferences(source.manifest, source.spec, source.path))
        : [],
    ),
    ...graph
      .own()
      .filter(({ application }) => application !== bootstrap)
      .flatMap((manifest) => unresolved(graph, manifest, otherReferences(manifest))),
  ],
};

function unresolved(graph: Graph, manifest: Manifest, references: Reference[]): Problem[] {
  return references.flatMap(({ kind, name, namespace, path, key }) => {
    if (everywhere.has(`${kind} ${name}`)) return [];
    const own = describeObject(manifest.object);
    const target = namespace ? `${kind} ${namespace}/${name}` : `${kind} ${name}`;
    const found = graph.find(kind, name, namespace);
    if (!found && !madeByOthers(graph, kind, name, namespace)) {
      const known = graph.ofKind(kind, namespace).map(({ object }) => object.metadata.name);
      const fix =
        known.length > 0
          ? `write one of ${known.slice(0, 5).join(", ")}, or add it`
          : "add it, or correct the name";
      return [{ manifest, path, message: `${own}: there is no ${target}`, fix }];
    }
    if (!found || key === undefined) return [];
    const { data = {}, binaryData = {}, stringData = {} } = found.object;
    const keys = Object.keys({ ...data, ...binaryData, ...stringData });
    if (keys.includes(key)) return [];
    return [
      {
        manifest,
        path,
        message: `${own}: ${target} has no key ${key}`,
        fix: `write one of ${keys.join(", ")}`,
      },
    ];
  });
}

function madeByOthers(graph: Graph, kind: string, name: string, namespace: string): boolean {
  if (kind === "Service") return servicesOf(graph).has(`${namespace}/${name}`);
  if (kind === "ClusterRole") return /^(system:|cluster-admin$|admin$|edit$|view$)/.test(name);
  // The content of a namespace that is not rendered here is unknown.
  if (kind === "ServiceAccount") return graph.givenNamespaces().has(namespace);
  return kind === "Secret" && isSecretMade(graph, name, namespace);
}

/** True if a Secret is rendered, or made by an ExternalSecret, a SealedSecret or a Certificate. */
export function isSecretMade(graph: Graph, name: string, namespace: string): boolean {
  return (
    graph.find("Secret", name, namespace) !== undefined ||
    graph
      .ofKind("ExternalSecret", namespace)
      .some(({ object }) => (object.spec?.target?.name ?? object.metadata.name) === name) ||
    graph.ofKind("SealedSecret", namespace).some(({ object }) => object.metadata.name === name) ||
    graph.ofKind("Certificate", namespace).some(({ object }) => object.spec?.secretName === name)
  );
}

// Fields of a pod's spec that refer to an object: its kind, and the field with its name.
const podFields: Record<string, { kind: string; name: string }> = {
  configMapKeyRef: { kind: "ConfigMap", name: "name" },
  configMapRef: { kind: "ConfigMap", name: "name" },
  configMap: { kind: "ConfigMap", name: "name" },
  secretKeyRef: { kind: "Secret", name: "name" },
  secretRef: { kind: "Secret", name: "name" },
  secret: { kind: "Secret", name: "secretName" },
  persistentVolumeClaim: { kind: "PersistentVolumeClaim", name: "claimName" },
};

function podReferences({ object }: Manifest, spec: object, base: FieldPath): Reference[] {
  const { namespace = "" } = object.metadata;
  const claims = ((object.spec?.volumeClaimTemplates ?? []) as { metadata?: { name?: string } }[]).map(
    ({ metadata }) => metadata?.name,
  );
  const found: Reference[] = [];
  const walk = (value: unknown, path: FieldPath): void => {
    if (typeof value !== "object" || value === null) return;
    for (const [key, field] of Object.entries(value as Record<string, unknown>)) {
      const at = [...path, Array.isArray(value) ? Number(key) : key];
      const known = Array.isArray(value) ? undefined : podFields[key];
      const content = field as Record<string, unknown> | null;
      // In a projected volume, the name of a Secret is in `name`.
      const nameField = known && content && known.name in content ? known.name : "name";
      const name = known && content?.[nameField];
      if (known && content && typeof name === "string" && content.optional !== true) {
        const items = (content.items ?? []) as { key: string }[];
        const keys = typeof content.key === "string" ? [content.key] : items.map((item) => item.key);
        const where = { kind: known.kind, name, namespace };
        if (keys.length === 0) found.push({ ...where, path: [...at, nameField] });
        for (const wanted of keys)
          found.push({ ...where, path: [...at, content.key ? "key" : "items"], key: wanted });
      }
      walk(field, at);
    }
  };
  walk(spec, base);
  const { serviceAccountName, imagePullSecrets = [] } = spec as {
    serviceAccountName?: string;
    imagePullSecrets?: { name: string }[];
  };
  if (serviceAccountName) {
    found.push({
      kind: "ServiceAccount",
      name: serviceAccountName,
      namespace,
      path: [...base, "serviceAccountName"],
    });
  }
  imagePullSecrets.forEach(({ name }, index) => {
    found.push({ kind: "Secret", name, namespace, path: [...base, "imagePullSecrets", index] });
  });
  return found.filter(({ kind, name }) => kind !== "PersistentVolumeClaim" || !claims.includes(name));
}

function otherReferences({ object }: Manifest): Reference[] {
  const { kind, metadata, spec = {} } = object;
  const { namespace = "" } = metadata;
  switch (kind) {
    case "RoleBinding":
    case "ClusterRoleBinding": {
      const subjects = (object.subjects ?? []) as { kind: string; name: string; namespace?: string }[];
      const role = object.roleRef as { kind: string; name: string };
      return [
        {
          kind: role.kind,
          name: role.name,
          namespace: role.kind === "Role" ? namespace : "",
          path: ["roleRef", "name"],
        },
        ...subjects.flatMap((subject, index) =>
          subject.kind === "ServiceAccount"
            ? [
                {
                  kind: "ServiceAccount",
                  name: subject.name,
                  namespace: subject.namespace ?? namespace,
                  path: ["subjects", index, "name"],
                },
              ]
            : [],
        ),
      ];
    }
    case "StatefulSet":
      return spec.serviceName
        ? [{ kind: "Service", name: spec.serviceName, namespace, path: ["spec", "serviceName"] }]
        : [];
    case "HorizontalPodAutoscaler":
      return [
        {
          kind: spec.scaleTargetRef.kind,
          name: spec.scaleTargetRef.name,
          namespace,
          path: ["spec", "scaleTargetRef", "name"],
        },
      ];
    case "Ingress": {
      if (groupOf(object) !== "networking.k8s.io") return [];
      const rules = (spec.rules ?? []) as {
        http?: { paths: { backend: { service?: { name: string } } }[] };
      }[];
      return [
        ...rules.flatMap(({ http }, rule) =>
          (http?.paths ?? []).flatMap(({ backend }, index) =>
            backend.service
              ? [
                  {
                    kind: "Service",
                    name: backend.service.name,
                    namespace,
                    path: ["spec", "rules", rule, "http", "paths", index, "backend", "service", "name"],
                  },
                ]
              : [],
          ),
        ),
        ...((spec.tls ?? []) as { secretName?: string }[]).flatMap(({ secretName }, index) =>
          secretName
            ? [{ kind: "Secret", name: secretName, namespace, path: ["spec", "tls", index, "secretName"] }]
            : [],
        ),
      ];
    }
    default:
      return [];
  }
}
