// A person at the console's chat with a keyboard only.  node console.mjs CHROMIUM URL QUESTION SHOT
import { chromium } from 'playwright-core';

const [, , executablePath, url, question, shot] = process.argv;
const browser = await chromium.launch({ executablePath, headless: true, args: ['--headless=new', '--no-sandbox'] });
const page = await browser.newPage({ viewport: { width: 1360, height: 900 } });
const errors = [];
page.on('pageerror', (error) => errors.push(error.message));
page.on('console', (message) => { if (message.type() === 'error') errors.push(message.text()); });
await page.goto(url);
const boxes = () => page.$$eval('rect.chat', (found) => found.map((rect) =>
  Object.fromEntries(['x', 'y', 'width', 'height'].map((name) => [name, Number(rect.getAttribute(name))]))));
const ask = async (text, count) => {
  await page.keyboard.type(text);
  await page.keyboard.press('Enter');
  await page.waitForFunction((n) => {
    const told = document.querySelectorAll('#log article');
    return told.length === n && !document.querySelector('[type=submit]').disabled;
  }, count, { timeout: 90000 });
};
const earlier = await page.waitForSelector('#log article').then(() => page.$$eval('#log article', (found) => found.length));
await ask(question, earlier + 1);
const drawn = await boxes();
const seen = await page.$eval('.picture', (picture) => {
  const image = picture.querySelector('img');
  const rect = picture.querySelector('rect.chat')?.getBoundingClientRect();
  const frame = image.getBoundingClientRect();
  return { loaded: image.naturalWidth, inside: rect && [(rect.left - frame.left) / frame.width, (rect.top - frame.top) / frame.height] };
});
await page.screenshot({ path: shot, fullPage: true });
await page.keyboard.press('Escape');
const hidden = await boxes();
await page.keyboard.press('Shift+Tab');
await page.keyboard.press('Enter');
const again = await boxes();
const log = await page.$eval('#log', (found) => found.innerText);
const state = await page.$eval('#state', (found) => found.textContent);
console.log(JSON.stringify({ earlier, drawn, seen, hidden, again, log, state, errors }));
await browser.close();
