/** Secrets in etcd are encrypted: with a key that is made once, and that root alone reads. */
import { randomBytes } from "node:crypto";
import { existsSync, writeFileSync } from "node:fs";
import { until } from "../../../lib/failure.ts";
import { tailCommand } from "../../../lib/process.ts";
import { kubectlQuietly } from "../../src/kubectl.ts";
import { secretFile } from "./credentials.ts";
import { state } from "./layout.ts";

/** The API server's encryption configuration, with the key in it. */
export const encryptionFile = (): string => state("secrets", "encryption.json");

const marker = (): string => state("secrets", "encrypted");

/** Makes the key where there is none. Whoever loses it loses every Secret: `./deploy.sh backup` has it. */
export function ensureEncryptionKey(): void {
  const path = secretFile("encryption.json");
  if (existsSync(path)) return;
  const keys = [{ name: "key1", secret: randomBytes(32).toString("base64") }];
  const configuration = {
    apiVersion: "apiserver.config.k8s.io/v1",
    kind: "EncryptionConfiguration",
    // The first one writes, each one reads: what an earlier version of the platform stored is there in the clear.
    resources: [{ resources: ["secrets"], providers: [{ secretbox: { keys } }, { identity: {} }] }],
  };
  writeFileSync(path, JSON.stringify(configuration), { mode: 0o600 });
}

/** Writes every Secret once more, so that those of an earlier version are encrypted too. Done once for each platform. */
export async function encryptSecrets(): Promise<void> {
  if (existsSync(marker())) return;
  await until(
    "encryption of the Secrets",
    120,
    async () => {
      const text = await kubectlQuietly(["get", "secrets", "--all-namespaces", "-o", "json"]);
      const { items } = JSON.parse(text) as { items: object[] };
      // Where somebody has changed one meanwhile, this fails, and all are read again.
      if (items.length > 0) await kubectlQuietly(["replace", "-f", "-"], text);
      return undefined;
    },
    tailCommand(state("log", "kube-apiserver.log")),
  );
  writeFileSync(marker(), "");
}
