"""Writes Korean addresses by a pattern, such as test data for a form.

The model spells Hangul as jamo, so it learns syllables from few examples, and its texts are whole syllables. The
regular expression says which addresses are wanted: here roads (로) of Seoul with a building number, and a flat if there
is one. The addresses to learn from are made up here.

    $ python examples/korean_addresses.py --count 5
    서울특별시 강북구 남강대로 371, 8동 135호
    서울특별시 강북구 하명로 228
    서울특별시 중구 양정길러로 136, 45동 462호
    서울특별시 종로구 영흥로 322, 10동 538호
    서울특별시 종로구 동흥로 124
"""

from __future__ import annotations

import argparse

from training_and_serving import numbers, served

PATTERN = r"서울특별시 [가-힣]{1,3}구 [가-힣]{2,4}로 [1-9][0-9]{0,2}(, [1-9][0-9]{0,2}동 [1-9][0-9]{0,2}호)?"

DISTRICTS = {
    "서울특별시": "강남구 강북구 관악구 광진구 구로구 노원구 도봉구 마포구 서초구 송파구 용산구 종로구 중구".split(),
    "부산광역시": "금정구 남구 동래구 북구 사상구 서구 수영구 연제구 해운대구".split(),
    "대구광역시": "남구 달서구 동구 북구 수성구 중구".split(),
}
FIRST = "가 금 남 대 동 미 백 봉 새 서 신 양 영 청 한 화".split()
SECOND = "강 곡 명 산 송 원 정 천 평 흥".split()
KINDS = "로 로 길 대로".split()


def made_up(count: int) -> list[str]:
    """Returns ``count`` addresses."""
    random = numbers()
    addresses = []
    for _ in range(count):
        city = random.choice(list(DISTRICTS))
        road = random.choice(FIRST) + random.choice(SECOND) + random.choice(KINDS)
        flat = f", {random.randint(1, 130)}동 {random.randint(101, 999)}호" if random.random() < 0.5 else ""
        addresses.append(f"{city} {random.choice(DISTRICTS[city])} {road} {random.randint(1, 400)}{flat}")
    return addresses


def main() -> None:
    """Reads the arguments, trains a model and prints addresses."""
    parser = argparse.ArgumentParser(description="Writes Korean addresses by a pattern.")
    parser.add_argument("--pattern", default=PATTERN, help="regular expression that each address matches")
    parser.add_argument("--count", type=int, default=10, help="addresses to write")
    parser.add_argument("--epochs", type=int, default=5, help="passes over the addresses to learn from")
    arguments = parser.parse_args()
    with served(made_up(2000), alphabet="jamo", epochs=arguments.epochs) as client:
        for seed in range(1, arguments.count + 1):
            print(client.generate(regex=arguments.pattern, max_characters=60, seed=seed, temperature=0.8).text)


if __name__ == "__main__":
    main()
