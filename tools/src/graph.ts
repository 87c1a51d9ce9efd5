/** All objects of a cluster, and how they are found. */

import { configurationOf, type Layout } from "../../lib/configuration.ts";
import { type FieldPath, isMapping, type KubernetesObject, type Manifest } from "../../lib/object.ts";
import { type Application, bootstrap } from "../../lib/render/cluster.ts";
import { type Position, Positions } from "../../lib/render/position.ts";
import type { Repository } from "../../lib/repository.ts";
import type { Link } from "./git/files.ts";
import type { Defect } from "./schema/validator.ts";

/** What Git says of a service's image. */
export interface ServiceTag {
  /** First 12 digits of the tree hash of the committed sources, or of those that are in no commit yet. */
  expected: string;
  /** True while no commit has the sources. */
  uncommitted: boolean;
  /** The tag that the last commit of the scalar rolled back from, where that commit is a rollback. */
  rolledBack: string | undefined;
  /** The tags of all sources that were ever committed; undefined where the history is cut off. */
  committed: ReadonlySet<string> | undefined;
}

/** Everything that rules look at. */
export interface GraphInput {
  cluster: string;
  /** The overlays that are tried in the place of the cluster's own, to see whether a cluster could take them. */
  variant?: string;
  repository: Repository;
  /** Those of their objects that have the shape of their kind: rules read lists and mappings without asking again. */
  applications: Application[];
  /** Schema defects by Application, those of objects without their shape included. */
  defects: Map<Application, { manifest: Manifest; defect: Defect }[]>;
  /** Services of the repository by directory name. */
  tags: Map<string, ServiceTag>;
  /** Pinned versions that may stand in one file only. */
  pins: { name: string; value: string; home: string }[];
  /** The links that Git tracks or could track. */
  links?: Link[];
  /** Files that are rendered and that Git ignores, with the file that names each. */
  ignored?: { file: string; by: string }[];
  /** AppProjects that stand in no Application of this cluster. */
  projects?: Manifest[];
  /** Objects of which it is not known whether they live in a namespace. */
  scopeless?: ReadonlySet<KubernetesObject>;
  /** Files that take part in the rendering of any cluster; one that only another uses is no stray. */
  used?: ReadonlySet<string>;
}

/** A control plane that deploy.sh installs, with its gateways. */
export interface IstioInstallation {
  namespace: string;
  gateways: { name: string; namespace: string; enabled: boolean; labels: Record<string, string> }[];
}

const mappingOr = (value: unknown): Record<string, unknown> => (isMapping(value) ? value : {});
const textOr = (value: unknown, otherwise: string): string => (typeof value === "string" ? value : otherwise);

/** The objects of one cluster, indexed so that a rule takes time linear in their number. */
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

  /** Where things are, for the rules that are about the layout; undefined where the repository has none. */
  get layout(): Layout | undefined {
    return configurationOf(this.input.repository).layout;
  }

  /** True where an object was left out because it has not the shape of its kind: what others refer to may be missing. */
  get hasHoles(): boolean {
    return [...this.input.defects.values()].flat().some(({ defect }) => defect.isShape);
  }

  /** Objects of a kind, in all namespaces or in one. */
  ofKind(kind: string, namespace?: string): Manifest[] {
    return (
      (namespace === undefined ? this.#byKind.get(kind) : this.#byNamespace.get(`${kind} ${namespace}`)) ?? []
    );
  }

  /** One object by its name; leave the namespace out for kinds without one. */
  find(kind: string, name: string, namespace = ""): Manifest | undefined {
    return this.#byName.get(`${kind} ${namespace}/${name}`)?.[0];
  }

  /** Objects that are this repository's own: not what a pinned module brings. */
  own(): Manifest[] {
    return this.manifests.filter(({ foreign }) => !foreign);
  }

  /** Where a field stands in the file that its object comes from, or in the patch that sets it. */
  position(manifest: Manifest, path: FieldPath): Position {
    return this.#positions.ofField(manifest, path, this.application(manifest)?.files);
  }

  /** Where a path of a file's first document stands. */
  positionInFile(file: string, path: FieldPath): Position {
    return this.#positions.ofPath(file, path);
  }

  /** Where a text first stands in a file. */
  positionOfText(file: string, text: string): Position {
    return this.#positions.ofText(file, text);
  }

  /** The Application that renders an object. */
  application(manifest: Manifest): Application | undefined {
    return this.#applications.get(manifest.application);
  }

  /** The AppProject of an Application, as far as it is in this repository. */
  projectOf({ manifest }: Application): Manifest | undefined {
    const name = (manifest?.object.spec?.project as string | undefined) ?? "default";
    const near = this.ofKind("AppProject").find(({ object }) => object.metadata.name === name);
    return near ?? closest(manifest?.file ?? "", this.input.projects ?? [], name);
  }

  /** What IstioOperators of deploy.sh say, which `istioctl` installs: they are rendered nowhere and have no schema here. */
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

  /** Namespaces that are there before any Application: Kubernetes' own and those of deploy.sh. */
  givenNamespaces(): Set<string> {
    const given = this.#bootstrapObjects().flatMap(({ kind, metadata, spec }) => {
      if (kind === "Namespace") return metadata.name;
      if (kind !== "IstioOperator") return [];
      const { istioNamespace } = mappingOr(mappingOr(mappingOr(spec).values).global);
      return textOr(istioNamespace, textOr(metadata.namespace, "istio-system"));
    });
    // Argo CD's is there before Argo CD can sync anything.
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

// Of several of one name the one that has most of its path in common with the Application.
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
