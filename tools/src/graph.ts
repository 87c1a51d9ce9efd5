/** Holds all objects of a cluster and finds them by kind, name or namespace. */

import { configurationOf, type Layout } from "../../lib/configuration.ts";
import { type FieldPath, isMapping, type KubernetesObject, type Manifest } from "../../lib/object.ts";
import { type Application, bootstrap } from "../../lib/render/cluster.ts";
import { type Position, Positions } from "../../lib/render/position.ts";
import type { Repository } from "../../lib/repository.ts";
import type { Link } from "./git/files.ts";
import type { Defect } from "./schema/validator.ts";

/** What Git says about a service's image. */
export interface ServiceTag {
  /** First 12 digits of the tree hash of the sources, committed or not yet committed. */
  expected: string;
  /** True if the sources are not committed yet. */
  uncommitted: boolean;
  /** The tag from which the last deployment rolled back; undefined if it is not a rollback. */
  rolledBack: string | undefined;
  /** The tags of all sources that were ever committed; undefined if the history is incomplete. */
  committed: ReadonlySet<string> | undefined;
}

/** Everything that rules can examine. */
export interface GraphInput {
  cluster: string;
  /** The overlays that replace the cluster's own, to check whether a cluster could use them. */
  variant?: string;
  repository: Repository;
  /** They contain only objects with the shape of their kind, so that rules can read lists and mappings without checks. */
  applications: Application[];
  /** Schema defects by Application, including those of objects without the right shape. */
  defects: Map<Application, { manifest: Manifest; defect: Defect }[]>;
  /** Services of the repository by directory name. */
  tags: Map<string, ServiceTag>;
  /** Pinned versions that may occur in one file only. */
  pins: { name: string; value: string; home: string }[];
  /** The links that Git tracks or could track. */
  links?: Link[];
  /** Files that are rendered and that Git ignores, with the file that names each. */
  ignored?: { file: string; by: string }[];
  /** AppProjects that are not part of any Application of this cluster. */
  projects?: Manifest[];
  /** Objects for which it is unknown whether they belong to a namespace. */
  scopeless?: ReadonlySet<KubernetesObject>;
  /** Files that any cluster uses for rendering. A file that only another cluster uses is not unused. */
  used?: ReadonlySet<string>;
}

/** A control plane that deploy.sh installs, with its gateways. */
export interface IstioInstallation {
  namespace: string;
  gateways: { name: string; namespace: string; enabled: boolean; labels: Record<string, string> }[];
}

const mappingOr = (value: unknown): Record<string, unknown> => (isMapping(value) ? value : {});
const textOr = (value: unknown, otherwise: string): string => (typeof value === "string" ? value : otherwise);

/** The objects of one cluster. Their indexes let a rule run in time linear in the number of objects. */
export class Graph {
  readonly input: GraphInput;
  readonly manifests: Manifest[];
  readonly #byKind = new Map<string, Manifest[]>();
  readonly #byName = new Map<string, Manifest[]>();
  readonly #byNamespace = new Map<string, Manifest[]>();
  readonly #applications: Map<string, Application>;
  readonly #positions: Positions;

  constructor(input: GraphInput) {
    this.input = input;
    this.#applications = new Map(input.applications.map((application) => [application.name, application]));
    this.#positions = new Positions(input.repository);
    this.manifests = input.applications
      .flatMap(({ manifests }) => manifests)
      .filter(({ object }) => object.metadata?.name);
    for (const manifest of this.manifests) {
      const { kind, metadata } = manifest.object;
      append(this.#byKind, kind, manifest);
      append(this.#byNamespace, `${kind} ${metadata.namespace ?? ""}`, manifest);
      append(this.#byName, `${kind} ${metadata.namespace ?? ""}/${metadata.name}`, manifest);
    }
  }

  /** The repository's layout, for the rules that check it; undefined if the repository has none. */
  get layout(): Layout | undefined {
    return configurationOf(this.input.repository).layout;
  }

  /** True if an object was left out because it lacks the shape of its kind. Targets of references may be missing then. */
  get hasHoles(): boolean {
    return [...this.input.defects.values()].flat().some(({ defect }) => defect.isShape);
  }

  /** Objects of a kind, in all namespaces or in one. */
  ofKind(kind: string, namespace?: string): Manifest[] {
    return (
      (namespace === undefined ? this.#byKind.get(kind) : this.#byNamespace.get(`${kind} ${namespace}`)) ?? []
    );
  }

  /** One object by its name. Omit the namespace for cluster-wide kinds. */
  find(kind: string, name: string, namespace = ""): Manifest | undefined {
    return this.#byName.get(`${kind} ${namespace}/${name}`)?.[0];
  }

  /** Objects of this repository, without those of pinned modules. */
  own(): Manifest[] {
    return this.manifests.filter(({ foreign }) => !foreign);
  }

  /** The position of a field in the file of its object, or in the patch that sets it. */
  position(manifest: Manifest, path: FieldPath): Position {
    return this.#positions.ofField(manifest, path, this.application(manifest)?.files);
  }

  /** The position of a path in a file's first document. */
  positionInFile(file: string, path: FieldPath): Position {
    return this.#positions.ofPath(file, path);
  }

  /** The position of a text's first occurrence in a file. */
  positionOfText(file: string, text: string): Position {
    return this.#positions.ofText(file, text);
  }

  /** The Application that renders an object. */
  application(manifest: Manifest): Application | undefined {
    return this.#applications.get(manifest.application);
  }

  /** The AppProject of an Application, if it is in this repository. */
  projectOf({ manifest }: Application): Manifest | undefined {
    const name = (manifest?.object.spec?.project as string | undefined) ?? "default";
    const near = this.ofKind("AppProject").find(({ object }) => object.metadata.name === name);
    return near ?? closest(manifest?.file ?? "", this.input.projects ?? [], name);
  }

  /** The IstioOperators of deploy.sh, which `istioctl` installs. They are not rendered, and have no schema here. */
  istioOperators(): IstioInstallation[] {
    return this.#bootstrapObjects()
      .filter(({ kind }) => kind === "IstioOperator")
      .map(({ metadata, spec }) => {
        const namespace = textOr(metadata.namespace, "istio-system");
        const { ingressGateways, egressGateways } = mappingOr(mappingOr(spec).components);
        const gateways = [ingressGateways, egressGateways].flat().filter(isMapping);
        return {
          namespace,
          gateways: gateways.map((gateway) => ({
            name: textOr(gateway.name, ""),
            namespace: textOr(gateway.namespace, namespace),
            enabled: gateway.enabled !== false,
            labels: mappingOr(gateway.label) as Record<string, string>,
          })),
        };
      });
  }

  /** Namespaces that exist before any Application: those of Kubernetes and of deploy.sh. */
  givenNamespaces(): Set<string> {
    const given = this.#bootstrapObjects().flatMap(({ kind, metadata, spec }) => {
      if (kind === "Namespace") return metadata.name;
      if (kind !== "IstioOperator") return [];
      const { istioNamespace } = mappingOr(mappingOr(mappingOr(spec).values).global);
      return textOr(istioNamespace, textOr(metadata.namespace, "istio-system"));
    });
    // Argo CD's own namespace exists before Argo CD can sync anything.
    return new Set(["argocd", "default", "kube-system", "kube-public", "kube-node-lease", ...given]);
  }

  #given: KubernetesObject[] | undefined;

  #bootstrapObjects(): KubernetesObject[] {
    this.#given ??= [
      ...(this.input.applications
        .find(({ name }) => name === bootstrap)
        ?.manifests.map(({ object }) => object) ?? []),
      ...[...this.input.repository]
        .filter(
          ([path, text]) =>
            this.layout !== undefined &&
            path.startsWith(`${this.layout.given}/`) &&
            /\.ya?ml$/.test(path) &&
            /^kind: (Namespace|IstioOperator)$/m.test(text),
        )
        .flatMap(([path]) => this.#positions.objectsOf(path)),
    ];
    return this.#given;
  }
}

// If several have the same name, this chooses the one whose path has most in common with the Application's.
function closest(file: string, projects: Manifest[], name: string): Manifest | undefined {
  const shared = (other: string): number => {
    const [a, b] = [file.split("/"), other.split("/")];
    const end = a.findIndex((part, index) => part !== b[index]);
    return end < 0 ? a.length : end;
  };
  return projects
    .filter(({ object }) => object.metadata.name === name)
    .sort((one, other) => shared(other.file) - shared(one.file))[0];
}

function append<T>(map: Map<string, T[]>, key: string, value: T): void {
  const list = map.get(key);
  if (list) list.push(value);
  else map.set(key, [value]);
}
