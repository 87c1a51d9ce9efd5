/** The platform's passwords: random, made once, kept where only root reads. */
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { state } from "./layout.ts";

export interface Credentials {
  /** Password of the Git user `platform`, who may push. */
  platform: string;
  /** Password of the Git user `argocd`, who may only read. */
  argocd: string;
  /** Secret that signs the Git server's webhook calls. */
  webhook: string;
  /** Password of the user `platform` of the image mirror, who may push. */
  registry: string;
}

const names = ["platform", "argocd", "webhook", "registry"] as const;

/** A path in the directory of secrets, which is made for root alone. */
export function secretFile(name: string): string {
  mkdirSync(state("secrets"), { recursive: true, mode: 0o700 });
  return state("secrets", name);
}

/** Random credentials, made once and kept in the state directory; a platform of an earlier version gets what it lacks. */
export function credentials(): Credentials {
  const path = secretFile("credentials.json");
  const known = existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as Partial<Credentials>) : {};
  const missing = names.filter((name) => !known[name]);
  for (const name of missing) known[name] = randomBytes(24).toString("hex");
  if (missing.length > 0) writeFileSync(path, JSON.stringify(known), { mode: 0o600 });
  return known as Credentials;
}
