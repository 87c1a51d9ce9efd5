/** Where the operator's commands work: which cluster, which archives, and in which pod. */

const quoted = (text: string): string =>
  /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;

/** A kubectl command line for the cluster that this command works on, whichever cluster the reader's shell talks to. */
export function kubectlCommand(...args: string[]): string {
  const { KUBECONFIG } = process.env;
  return [...(KUBECONFIG ? [`KUBECONFIG=${quoted(KUBECONFIG)}`] : []), "kubectl", ...args].join(" ");
}

/** True if the archives are not on the platform's volume, or if the options ask only for help. */
export const needsNoPlatform = (options: string[]): boolean =>
  options.some((option) => /^(--from-dir|--from-remote|--archives|--help|-h)(=|$)/.test(option)) ||
  options.some((option) => /^--from=.*\//.test(option)) ||
  options.some((option, index) => option.includes("/") && options[index - 1] === "--from");

/** What a CronJob makes its pods from. */
export interface PodTemplate {
  metadata: object;
  spec: { containers: object[] };
}

/** A pod like that of a run, with the volume, but idle. */
export const idlePod = (name: string, { metadata, spec }: PodTemplate): object => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { ...metadata, name },
  spec: { ...spec, containers: spec.containers.map((container) => ({ ...container, args: ["serve"] })) },
});
