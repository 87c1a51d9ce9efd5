/**
 * The password of Argo CD's Redis. Without one an init container of Redis makes it. Until then the server and the
 * controller, which start at the same time, fail, and the kubelet waits more than ten seconds before it tries again.
 */
import { randomBytes } from "node:crypto";
import { kubectlQuietly, secretObject } from "./kubectl.ts";

const namespace = "argocd";
const name = "argocd-redis";
const labels = { "app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "argocd" };

/** Makes the Secret before Argo CD is applied, in its namespace, which has to exist. A present one is left unchanged. */
export async function ensureRedisPassword(): Promise<void> {
  const found = ["-n", namespace, "get", "secret", name, "--ignore-not-found", "-o", "name"];
  if ((await kubectlQuietly(found)).trim() !== "") return;
  const auth = randomBytes(24).toString("base64url");
  await kubectlQuietly(["create", "-f", "-"], secretObject({ namespace, name, labels }, { auth }));
}
