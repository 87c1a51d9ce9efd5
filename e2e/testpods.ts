/** Pods of the tests' own, in a namespace of their own. */
import { until } from "../lib/failure.ts";
import { kubectl } from "./kubectl.ts";

const image = "docker.io/library/node:24-bookworm-slim";

const deletion = (name: string): string[] => ["delete", "namespace", name, "--ignore-not-found"];

/**
 * Makes an empty namespace, whatever an earlier run left in it.
 * @param injection `disabled` says that its pods are not in the mesh, so that `istioctl analyze` does not ask
 */
export async function createNamespace(
  name: string,
  injection: "enabled" | "disabled" = "disabled",
): Promise<void> {
  await kubectl([...deletion(name), "--timeout", "100s"]);
  await kubectl(["create", "namespace", name]);
  await kubectl(["label", "namespace", name, `istio-injection=${injection}`]);
}

/** Begins to delete a namespace with all it holds, which takes seconds that nobody has to wait for. */
export async function deleteNamespace(name: string): Promise<void> {
  await kubectl([...deletion(name), "--wait=false"]);
}

/** What a pod of the tests is to do. */
export interface PodOptions {
  script: string;
  node?: string;
  volume?: { mountPath: string; source: object };
}

/** A pod that runs a shell script in a Debian with Node; its name is its label `name` too. */
export function shellPod(namespace: string, name: string, { script, node, volume }: PodOptions): object {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { namespace, name, labels: { name } },
    spec: {
      restartPolicy: "Never",
      terminationGracePeriodSeconds: 0,
      automountServiceAccountToken: false,
      ...(node === undefined ? {} : { nodeSelector: { "kubernetes.io/hostname": node } }),
      containers: [
        {
          name: "shell",
          image,
          command: ["sh", "-c", script],
          ...(volume ? { volumeMounts: [{ name: "data", mountPath: volume.mountPath }] } : {}),
        },
      ],
      ...(volume ? { volumes: [{ name: "data", ...volume.source }] } : {}),
    },
  };
}

/** Waits until a pod is in a phase such as Running. */
export async function waitForPhase(namespace: string, name: string, phase: string): Promise<void> {
  await until(`pod ${namespace}/${name}`, 120, async () => {
    const now = await kubectl(["-n", namespace, "get", "pod", name, "-o", "jsonpath={.status.phase}"]);
    return now === phase ? undefined : `is ${now}, not ${phase}`;
  });
}
