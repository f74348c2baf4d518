package simulate

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// Invented people in several scripts. Domains and addresses are reserved ones.
var (
	firstNames = []string{"Ada", "Grace", "Linus", "José", "Zoë", "İpek", "Łukasz", "Anaïs", "明", "さくら", "Наталья", "ليلى", "Nguyễn", "Søren"}
	lastNames  = []string{"Example", "Sample", "Muster", "García", "Öztürk", "Nowak", "王", "山田", "Иванова", "حداد", "Trần", "Ångström"}
	titles     = []string{"CTO", "VP Sales", "Head of Growth", "Software Engineer", "Geschäftsführerin", "Marketing Manager", "CEO"}
	companies  = []string{"Initech", "Umbrella Foods", "Stark Paper", "Wayne Tools", "Wonka Labs", "Tyrell Optics"}
	industries = []string{"Software", "Retail", "Manufacturing", "Media", "Education"}
	cities     = [][2]string{{"Lisbon", "PT"}, {"Austin", "US"}, {"İzmir", "TR"}, {"大阪", "JP"}, {"Zürich", "CH"}, {"Kraków", "PL"}}
	pages      = []string{"/", "/pricing", "/docs", "/blog/launch", "/features", "/contact", "/about"}
	campaigns  = []string{"q1_brand", "spring_sale", "retargeting", "webinar"}
	networks   = []string{"192.0.2.", "198.51.100.", "203.0.113."}
)

// person is one invented visitor of one tenant: the same number is always the same person.
type person struct {
	number                          int
	first, last, email, title       string
	company, companyDomain, country string
	city, industry, ip, linkedin    string
}

func pick[T any](r *rand.Rand, of []T) T { return of[r.IntN(len(of))] }

func newPerson(seed uint64, tenant string, number int) person {
	r := rand.New(rand.NewPCG(seed, hash(tenant)+uint64(number)))
	city := pick(r, cities)
	p := person{
		number: number, first: pick(r, firstNames), last: pick(r, lastNames), title: pick(r, titles),
		company: pick(r, companies), city: city[0], country: city[1], industry: pick(r, industries),
		ip: fmt.Sprintf("%s%d", pick(r, networks), 1+r.IntN(254)),
	}
	p.companyDomain = strings.ReplaceAll(strings.ToLower(p.company), " ", "-") + ".example"
	p.email = fmt.Sprintf("visitor.%d@%s", number, p.companyDomain)
	p.linkedin = fmt.Sprintf("https://www.linkedin.com/in/visitor-%d-example", number)
	return p
}

func hash(s string) uint64 {
	h := uint64(14695981039346656037) // FNV-1a
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}
