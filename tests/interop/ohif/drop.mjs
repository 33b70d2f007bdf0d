// An operator drops an image on a study's page.  node drop.mjs CHROMIUM URL SOP_INSTANCE_UID REASON SHOT
import { chromium } from 'playwright-core';

const [, , executablePath, url, image, reason, shot] = process.argv;
const browser = await chromium.launch({ executablePath, headless: true, args: ['--headless=new', '--no-sandbox'] });
const page = await browser.newPage({ viewport: { width: 1360, height: 900 } });
const errors = [];
page.on('pageerror', (error) => errors.push(error.message));
await page.goto(url);
const objects = () => page.$$eval('table[aria-labelledby=objects] tbody tr', (rows) => rows.map((row) =>
  [row.cells[0].title, row.cells[2].textContent, row.cells[3].textContent]));
const before = await objects();
// Without a reason nothing is sent.
await page.click('#drop [type=submit]');
const asked = await page.$eval('#why', (field) => field.matches(':invalid'));
const unchanged = await objects();
await page.selectOption('#stray', image);
await page.fill('#why', reason);
await Promise.all([page.waitForNavigation(), page.click('#drop [type=submit]')]);
const after = await objects();
const offered = await page.$$eval('#stray option', (options) => options.map((option) => option.value));
await page.screenshot({ path: shot, fullPage: true });
console.log(JSON.stringify({ before, asked, unchanged, after, offered, errors }));
await browser.close();
