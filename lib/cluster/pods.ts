/** What pods say about themselves. */

interface ContainerStatus {
  name: string;
  ready: boolean;
  state: {
    waiting?: { reason: string; message?: string };
    terminated?: { reason: string; exitCode: number };
    running?: object;
  };
}

export interface Pod {
  metadata: { name: string; namespace: string; labels?: Record<string, string> };
  spec?: { containers: { name: string; image: string }[] };
  status: {
    phase: string;
    conditions?: { type: string; status: string; reason?: string; message?: string }[];
    containerStatuses?: ContainerStatus[];
    initContainerStatuses?: ContainerStatus[];
  };
}

/** Why a pod is not ready, in one phrase, or undefined when it is ready or has ended well. */
export function podTrouble(pod: Pod): string | undefined {
  const { metadata, status } = pod;
  if (status.phase === "Succeeded") return undefined;
  const where = `Pod ${metadata.namespace}/${metadata.name}`;
  for (const { name, state } of [
    ...(status.initContainerStatuses ?? []),
    ...(status.containerStatuses ?? []),
  ]) {
    if (state.waiting && state.waiting.reason !== "PodInitializing") {
      return `${where}, container ${name}: ${state.waiting.reason}${state.waiting.message ? ` (${state.waiting.message})` : ""}`;
    }
    if (state.terminated && state.terminated.exitCode !== 0) {
      return `${where}, container ${name}: ended with ${state.terminated.reason} (exit ${state.terminated.exitCode})`;
    }
  }
  const failed = status.conditions?.find(
    (c) => ["PodScheduled", "Ready"].includes(c.type) && c.status === "False",
  );
  if (failed) {
    const state = failed.type === "Ready" ? "ready" : "scheduled";
    return `${where} is not ${state}: ${failed.message ?? failed.reason}`;
  }
  return status.phase === "Running" ? undefined : `${where} is ${status.phase}`;
}

/** The trouble of several pods that explains most: a failing container comes before a pod that is only not ready yet. */
export function worstTrouble(pods: Pod[]): string | undefined {
  const troubles = pods.flatMap((pod) => podTrouble(pod) ?? []);
  const failing =
    /: (ErrImagePull|ImagePullBackOff|InvalidImageName|Create\w*Error|CrashLoopBackOff|RunContainerError|ended with)/;
  return troubles.find((trouble) => failing.test(trouble)) ?? troubles[0];
}
