/** The platform's passwords: random, made once, kept where only root reads. */
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { hashSync } from "bcryptjs";
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
  /** Password of Argo CD's user `viewer`, who may only look, and what of it Argo CD is given. */
  viewer: string;
  viewerHash: string;
  /** Password of the user `admin` of Alertmanager's door, who may silence alerts. */
  silences: string;
}

const names = ["platform", "argocd", "webhook", "registry", "viewer", "silences"] as const;

/** A path in the directory of secrets, which is made for root alone. */
export function secretFile(name: string): string {
  mkdirSync(state("secrets"), { recursive: true, mode: 0o700 });
  return state("secrets", name);
}

/** Random credentials, made once and kept in the state directory; a platform of an earlier version gets what it lacks. */
export function credentials(): Credentials {
  const path = secretFile("credentials.json");
  const known = existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as Partial<Credentials>) : {};
  const hashed = known.viewerHash !== undefined;
  const missing = names.filter((name) => !known[name]);
  for (const name of missing) known[name] = randomBytes(24).toString("hex");
  // Another at every call: kept, so that a second run changes nothing.
  if (!known.viewerHash) known.viewerHash = hashSync(known.viewer ?? "", 10);
  if (missing.length > 0 || !hashed) writeFileSync(path, JSON.stringify(known), { mode: 0o600 });
  return known as Credentials;
}
