/** A Kubernetes cluster as the stages of bootstrap see it: the one that is made on this machine, or an existing one. */
import type { Diagnosis } from "../../lib/cluster/doctor.ts";
import type { Overrides } from "../../lib/render/overrides.ts";

/** What deploy.sh hands on; it has checked its command line. Each option is described by `./deploy.sh --help`. */
export interface Options {
  context?: string;
  cluster?: string;
  httpPort?: string;
  repo?: string;
  revision?: string;
  registry?: string;
  repoCredentials?: string;
  keepIstio?: boolean;
  ha?: boolean;
  kind?: boolean;
  purge?: boolean;
  yes?: boolean;
  dryRun?: boolean;
  /** What stands behind the commands backup and restore, with its whole path. */
  file?: string;
}

/** How istioctl is called for a cluster. */
export interface Istioctl {
  program: string;
  /** What `istioctl install` is given besides. */
  install: string[];
}

/** What a stage that all clusters share needs of its images and programs. */
export type Component = "istio" | "argocd" | "applications";

/** One step of bootstrap. It may run again: then it completes what is missing, or changes nothing. */
export type Stage = () => Promise<void>;

/** What differs between clusters. */
export interface Cluster {
  /** Its directory in gitops/clusters. */
  readonly name: string;
  /** What it is to have otherwise than Git says. */
  readonly overrides: Overrides;
  /** True where Istio is somebody else's and stays as it is. */
  readonly keepIstio: boolean;
  /** The stages that no other kind of cluster has, by the titles that deploy.sh lists. */
  readonly stages: Readonly<Record<string, Stage>>;
  /** Gets ready what a component is made of: images where nodes pull them, programs on the PATH. */
  provide(component: Component): Promise<void>;
  istioctl(): Promise<Istioctl>;
  /** Gives Argo CD the Secrets that it reads the repository with. */
  applyCredentials(): Promise<void>;
  /** The commit that bootstrap has pushed; undefined where the commit that counts is the one that Argo CD reads. */
  publishedCommit(): string | undefined;
  /** Asks the app through the gateway, once; what is wrong with its answer, if anything is. */
  ask(): Promise<string | undefined>;
  /** What is asked by `ask`, and the command that shows why there is no answer. */
  question(): Promise<{ what: string; next: string }>;
  /** Where everything is: what is there, and how it is reached. */
  summary(): Promise<Record<string, string>>;
  /** Looks at the machine or the cluster, not at the platform, and changes nothing. */
  examine(): Promise<Diagnosis[]>;
  /** True where the platform itself can be examined besides. */
  hasPlatform(): Promise<boolean>;
  /** What bootstrap would do, a line each. */
  plan(): Promise<string[]>;
  /** What destroy would remove, a line each. */
  remains(): Promise<string[]>;
  destroy(): Promise<void>;
  /** Writes what the cluster is into a file; what to tell of it, a line each. Where it is missing, deploy.sh refuses. */
  backup?(): Promise<string[]>;
  /** Lines that a shell evaluates to work with the cluster. */
  environment(): Record<string, string>;
}
