/** Encrypts Secrets in etcd with a key that is made once and that only root can read. */
import { randomBytes } from "node:crypto";
import { existsSync, writeFileSync } from "node:fs";
import { until } from "../../../lib/failure.ts";
import { tailCommand } from "../../../lib/process.ts";
import { kubectlQuietly } from "../../src/kubectl.ts";
import { secretFile } from "./credentials.ts";
import { state } from "./layout.ts";

/** Path of the API server's encryption configuration, which contains the key. */
export const encryptionFile = (): string => state("secrets", "encryption.json");

const marker = (): string => state("secrets", "encrypted");

/** Makes the key if there is none. Without it every Secret is lost, so `./deploy.sh backup` saves it. */
export function ensureEncryptionKey(): void {
  const path = secretFile("encryption.json");
  if (existsSync(path)) return;
  const keys = [{ name: "key1", secret: randomBytes(32).toString("base64") }];
  const configuration = {
    apiVersion: "apiserver.config.k8s.io/v1",
    kind: "EncryptionConfiguration",
    // Only the first provider writes, but all of them read: an older version of the platform stored plain text.
    resources: [{ resources: ["secrets"], providers: [{ secretbox: { keys } }, { identity: {} }] }],
  };
  writeFileSync(path, JSON.stringify(configuration), { mode: 0o600 });
}

/** Writes every Secret again, so that those of an older version are encrypted too. This happens once for each platform. */
export async function encryptSecrets(): Promise<void> {
  if (existsSync(marker())) return;
  await until(
    "encryption of the Secrets",
    120,
    async () => {
      const text = await kubectlQuietly(["get", "secrets", "--all-namespaces", "-o", "json"]);
      const { items } = JSON.parse(text) as { items: object[] };
      // This fails if somebody has changed one meanwhile. Then all are read again.
      if (items.length > 0) await kubectlQuietly(["replace", "-f", "-"], text);
      return undefined;
    },
    tailCommand(state("log", "kube-apiserver.log")),
  );
  writeFileSync(marker(), "");
}
