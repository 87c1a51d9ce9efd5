/** Where a command of the operator's works, and in what. */

const quoted = (text: string): string =>
  /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;

/** A kubectl command line for the cluster that this one works on, whatever the shell that it is copied into talks to. */
export function kubectlCommand(...args: string[]): string {
  const { KUBECONFIG } = process.env;
  return [...(KUBECONFIG ? [`KUBECONFIG=${quoted(KUBECONFIG)}`] : []), "kubectl", ...args].join(" ");
}

/** True where archives are read that are not on the platform's volume, or where only the help is asked for. */
export const needsNoPlatform = (options: string[]): boolean =>
  options.some((option) => /^(--from-dir|--from-remote|--archives|--help|-h)(=|$)/.test(option)) ||
  options.some((option) => /^--from=.*\//.test(option)) ||
  options.some((option, index) => option.includes("/") && options[index - 1] === "--from");

/** What a CronJob makes its pods of. */
export interface PodTemplate {
  metadata: object;
  spec: { containers: object[] };
}

/** A pod that is a run's in all but what it does: it has the volume, and waits. */
export const idlePod = (name: string, { metadata, spec }: PodTemplate): object => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { ...metadata, name },
  spec: { ...spec, containers: spec.containers.map((container) => ({ ...container, args: ["serve"] })) },
});
