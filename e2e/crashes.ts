/** A pod that ends again and again: minutes pass until an alert says so. */
import { apply, kubectl } from "./kubectl.ts";
import { createNamespace, deleteNamespace, shellPod } from "./testpods.ts";

/** Where it is. */
export const crashes = "e2e-crashes";

/** Starts the pod, unless it is there. */
export async function startCrashes(): Promise<void> {
  const there = ["get", "pod", "crashes", "--namespace", crashes, "--ignore-not-found", "--output", "name"];
  if ((await kubectl(there)) !== "") return;
  await createNamespace(crashes);
  const pod = shellPod(crashes, "crashes", { script: "exit 1" }) as { spec: { restartPolicy: string } };
  pod.spec.restartPolicy = "Always";
  await apply(pod);
}

/** Removes the pod with its namespace. */
export const endCrashes = (): Promise<void> => deleteNamespace(crashes);
