// SPDX-License-Identifier: Apache-2.0
// Starts a headless Chromium by playwright-core, which lies in the folder MODULES.
import { createRequire } from "node:module";
import { join } from "node:path";

export function start(modules, executablePath, args = []) {
  const { chromium } = createRequire(join(modules, "x.js"))("playwright-core");
  return chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", ...args] });
}
