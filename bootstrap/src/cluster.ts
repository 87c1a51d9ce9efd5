/** A Kubernetes cluster as the stages of bootstrap see it: the one that is made on this machine, or an existing one. */
import type { Diagnosis } from "../../lib/cluster/doctor.ts";
import type { Overrides } from "../../lib/render/overrides.ts";

/** The options that deploy.sh passes on after it has checked them. `./deploy.sh --help` describes each. */
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
  /** The argument of the commands backup and restore, as an absolute path. */
  file?: string;
}

/** How to call istioctl for a cluster. */
export interface Istioctl {
  program: string;
  /** Further arguments of `istioctl install`. */
  install: string[];
}

/** A component whose images and programs a shared stage needs. */
export type Component = "istio" | "argocd" | "applications";

/** One step of bootstrap. If it runs again, it completes what is missing, or changes nothing. */
export type Stage = () => Promise<void>;

/** What differs between clusters. */
export interface Cluster {
  /** Its directory in gitops/clusters. */
  readonly name: string;
  /** What the cluster has different from what Git says. */
  readonly overrides: Overrides;
  /** True if Istio belongs to somebody else and stays as it is. */
  readonly keepIstio: boolean;
  /** The stages that no other kind of cluster has, by the titles that deploy.sh lists. */
  readonly stages: Readonly<Record<string, Stage>>;
  /** Prepares a component: its images go to where nodes pull them, its programs onto the PATH. */
  provide(component: Component): Promise<void>;
  istioctl(): Promise<Istioctl>;
  /** Gives Argo CD the Secrets with which it reads the repository. */
  applyCredentials(): Promise<void>;
  /** The commit that bootstrap has pushed; undefined if the commit that counts is the one that Argo CD reads. */
  publishedCommit(): string | undefined;
  /** Asks the app through the gateway, once. Resolves to what is wrong with its answer, if anything is. */
  ask(): Promise<string | undefined>;
  /** What `ask` asks, and the command that shows why there is no answer. */
  question(): Promise<{ what: string; next: string }>;
  /** What the platform offers, and how to reach it. */
  summary(): Promise<Record<string, string>>;
  /** Examines the machine or the cluster, not the platform, and changes nothing. */
  examine(): Promise<Diagnosis[]>;
  /** True if the platform itself can be examined as well. */
  hasPlatform(): Promise<boolean>;
  /** What bootstrap would do, one step per line. */
  plan(): Promise<string[]>;
  /** What destroy would remove, one item per line. */
  remains(): Promise<string[]>;
  destroy(): Promise<void>;
  /** Writes the cluster's state into a file, and returns lines to print. Without this method deploy.sh refuses. */
  backup?(): Promise<string[]>;
  /** The variables that a shell needs to work with the cluster. */
  environment(): Record<string, string>;
}
